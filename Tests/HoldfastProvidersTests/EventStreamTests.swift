import Testing

@testable import HoldfastProviders

@Suite struct `Bedrock event stream` {
    // MARK: - Messages

    @Test(arguments: EventStreamVector.all)
    func `a message comes out whole, wherever the stream is cut`(vector: EventStreamVector) throws {
        for cuts in cutsOf(try vector.bytes()) {
            #expect(decode(cuts) == [.message(vector.message)])
        }
    }

    @Test func `several messages come out in order, wherever the stream is cut`() throws {
        let vectors = EventStreamVector.all
        let stream = try vectors.flatMap { try $0.bytes() }
        let expected = vectors.map { EventStreamDecoder.Piece.message($0.message) }
        for cuts in cutsOf(stream) {
            #expect(decode(cuts) == expected)
        }
    }

    @Test func `a decoder knows whether it is between messages`() throws {
        let bytes = try EventStreamVector.throttling.bytes()
        var decoder = EventStreamDecoder()
        #expect(decoder.isBetweenMessages)
        for byte in bytes {
            decoder.append([byte])
            #expect(!decoder.isBetweenMessages)
            if decoder.next() != nil { break }
        }
        #expect(decoder.isBetweenMessages)
        decoder.finish()
        #expect(decoder.next() == nil)
        #expect(!decoder.isDamaged)
    }

    @Test func `a long stream is decoded in pieces that do not fit its messages`() throws {
        let vector = EventStreamVector.metadata
        let messageCount = 500
        let bytes = try vector.bytes()
        let stream = (0..<messageCount).flatMap { _ in bytes }
        for pieceByteCount in [7, 180, 1_000, stream.count] {
            let cuts = stride(from: 0, to: stream.count, by: pieceByteCount).map {
                Array(stream[$0..<min($0 + pieceByteCount, stream.count)])
            }
            let pieces = decode(cuts)
            #expect(pieces.count == messageCount)
            #expect(pieces.allSatisfy { $0 == .message(vector.message) })
        }
    }

    @Test func `what is encoded is what botocore made and decodes to the same`() throws {
        for vector in [EventStreamVector.metadata, .throttling, .chunk, .empty] {
            let message = vector.message
            // In the order of the vectors.
            let headers = [
                (name: ":event-type", value: message.eventType),
                (name: ":exception-type", value: message.exceptionType),
                (name: ":content-type", value: message.contentType),
                (name: ":message-type", value: message.messageType),
            ].compactMap { header in header.value.map { (name: header.name, value: $0) } }
            let encoded = EventStreamMessage.encoded(headers: headers, payload: message.payload)
            let expected = try vector.bytes()
            #expect(encoded == expected)
            #expect(decode([encoded]) == [.message(message)])
        }
    }

    // MARK: - Damage

    @Test func `no byte can change unnoticed`() throws {
        let bytes = try EventStreamVector.metadata.bytes()
        for index in bytes.indices {
            for mask in [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xFF] as [UInt8] {
                var damaged = bytes
                damaged[index] ^= mask
                let expected: EventStreamDamage = index < 12 ? .preludeChecksum : .messageChecksum
                #expect(decode([damaged]) == [.damaged(expected)])
            }
        }
    }

    @Test func `nothing is decoded after damage`() throws {
        let good = try EventStreamVector.throttling.bytes()
        var damaged = good
        damaged[60] ^= 1
        let expected: [EventStreamDecoder.Piece] = [
            .message(EventStreamVector.throttling.message), .damaged(.messageChecksum),
        ]
        #expect(decode([good, damaged, good, [1, 2, 3]]) == expected)
        #expect(decode([good + damaged + good]) == expected)

        var decoder = EventStreamDecoder()
        decoder.append(damaged)
        #expect(decoder.next() == .damaged(.messageChecksum))
        #expect(decoder.isDamaged)
        #expect(!decoder.isBetweenMessages)
        decoder.append(good)
        #expect(decoder.next() == nil)
        decoder.finish()
        #expect(decoder.next() == nil)
    }

    @Test func `an end within a message is damage`() throws {
        let bytes = try EventStreamVector.metadata.bytes()
        let whole = EventStreamDecoder.Piece.message(EventStreamVector.metadata.message)
        for byteCount in 1..<bytes.count {
            let rest = Array(bytes[..<byteCount])
            #expect(decode([rest]) == [.damaged(.truncated)])
            #expect(decode([bytes, rest]) == [whole, .damaged(.truncated)])
        }
        #expect(decode([]).isEmpty)
    }

    @Test func `a message of exactly the limit passes, one byte more does not`() throws {
        let vector = EventStreamVector.metadata
        let bytes = try vector.bytes()
        #expect(decode([bytes], byteCountMax: bytes.count) == [.message(vector.message)])
        #expect(decode([bytes], byteCountMax: bytes.count - 1) == [.damaged(.tooLong)])
        // Known from the first bytes: nothing is stored in the hope of the rest.
        #expect(decode([Array(bytes[..<12])], byteCountMax: 180) == [.damaged(.tooLong)])
    }

    @Test(
        arguments: [
            (0, 0, .impossibleLengths),
            (15, 0, .impossibleLengths),
            (100, 85, .impossibleLengths),
            (100, .max, .impossibleLengths),
            (.max, 0, .tooLong),
            (1 << 20, 128 << 10 | 1, .tooLong),
            (16 << 20 | 1, 0, .tooLong),
            (16 << 20, 128 << 10, .truncated),
            (100, 84, .truncated),
        ] as [(total: UInt32, headers: UInt32, damage: EventStreamDamage)])
    func `lengths that cannot be are damage`(
        _ row: (total: UInt32, headers: UInt32, damage: EventStreamDamage)
    ) {
        let prelude = withChecksum(bigEndian(row.total) + bigEndian(row.headers))
        #expect(decode([prelude]) == [.damaged(row.damage)])
    }

    @Test func `the longest payload and the longest headers have limits of their own`() {
        let (headersMax, payloadMax) = (UInt32(128 << 10), UInt32(24 << 20))
        let all = Int(headersMax + payloadMax + 16)
        let longest = withChecksum(bigEndian(headersMax + payloadMax + 16) + bigEndian(headersMax))
        #expect(decode([longest], byteCountMax: all) == [.damaged(.truncated)])
        let payload = withChecksum(bigEndian(payloadMax + 17) + bigEndian(0))
        #expect(decode([payload], byteCountMax: all) == [.damaged(.tooLong)])
    }

    @Test(
        arguments: [
            // No name; no type; no value.
            [5], [1, 0x61], [1, 0x61, 2],
            // Values that are longer than the headers.
            [1, 0x61, 3, 0], [1, 0x61, 4, 0, 0, 0], [1, 0x61, 5, 0, 0, 0, 0, 0, 0, 0],
            [1, 0x61, 6, 0], [1, 0x61, 6, 0, 2, 0], [1, 0x61, 7, 0, 2, 0x61],
            [1, 0x61, 8, 0], [1, 0x61, 9, 0],
            // A type that does not exist.
            [1, 0x61, 10], [1, 0x61, 255],
            // No UTF-8, in a value and in a name.
            [1, 0x61, 7, 0, 1, 0xFF], [1, 0xFF, 0],
        ] as [[UInt8]])
    func `headers that cannot be are damage`(headers: [UInt8]) {
        #expect(decode([frame(headers: headers)]) == [.damaged(.malformedHeader)])
    }

    @Test func `a known header that comes twice is damage`() {
        let twice = EventStreamMessage.encoded(
            headers: [
                (name: ":message-type", value: "event"), (name: ":message-type", value: "error"),
            ], payload: [])
        #expect(decode([twice]) == [.damaged(.malformedHeader)])
    }

    @Test func `a known name whose value is no string is stepped over`() {
        let name = Array(":event-type".utf8)
        let headers = [UInt8(name.count)] + name + [6, 0, 1, 0x61]
        #expect(
            decode([frame(headers: headers)])
                == [.message(EventStreamMessage(payload: []))])
    }

    // MARK: - Checksums

    @Test func `the checksum is the usual one, at every length and alignment`() {
        #expect(checksum(Array("123456789".utf8)) == 0xCBF4_3926)
        #expect(checksum([]) == 0)
        let bytes = (0..<64).map { UInt8(truncatingIfNeeded: $0 * 167 + 13) }
        for start in 0..<9 {
            for end in start...bytes.count {
                let slice = bytes[start..<end]
                let whole = bytes.withUnsafeBytes {
                    CRC32.of(UnsafeRawBufferPointer(rebasing: $0[start..<end]))
                }
                #expect(whole == bitByBit(slice))
            }
        }
    }

    private func bitByBit(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        var state = UInt32.max
        for byte in bytes {
            state ^= UInt32(byte)
            for _ in 0..<8 { state = (state >> 1) ^ (state & 1 == 1 ? 0xEDB8_8320 : 0) }
        }
        return ~state
    }

    // MARK: - Frames by hand

    private func decode(
        _ cuts: [[UInt8]], byteCountMax: Int = EventStreamDecoder.messageByteCountMaxDefault
    ) -> [EventStreamDecoder.Piece] {
        var decoder = EventStreamDecoder(messageByteCountMax: byteCountMax)
        var pieces: [EventStreamDecoder.Piece] = []
        for bytes in cuts {
            decoder.append(bytes)
            while let piece = decoder.next() { pieces.append(piece) }
        }
        decoder.finish()
        while let piece = decoder.next() { pieces.append(piece) }
        return pieces
    }

    private func frame(headers: [UInt8]) -> [UInt8] {
        let lengths = bigEndian(UInt32(headers.count + 16)) + bigEndian(UInt32(headers.count))
        return withChecksum(withChecksum(lengths) + headers)
    }

    private func withChecksum(_ bytes: [UInt8]) -> [UInt8] {
        bytes + bigEndian(checksum(bytes))
    }

    private func checksum(_ bytes: [UInt8]) -> UInt32 {
        bytes.withUnsafeBytes { CRC32.of($0) }
    }

    private func bigEndian(_ value: UInt32) -> [UInt8] {
        withUnsafeBytes(of: value.bigEndian) { Array($0) }
    }
}

/// A message that botocore decodes to the same.
struct EventStreamVector: Sendable, CustomTestStringConvertible {
    let name: String
    let hex: String
    let message: EventStreamMessage

    var testDescription: String { name }

    func bytes() throws -> [UInt8] {
        let digits = try hex.filter { !$0.isWhitespace }.map { digit in
            UInt8(try #require(digit.hexDigitValue))
        }
        return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }

    static let all = [metadata, throttling, chunk, empty, everyType]

    static let metadata = EventStreamVector(
        name: "A: metadata",
        hex: """
            000000b50000004e2c61349a0b3a6576656e742d747970650700086d657461646174610d3a636f6e7465
            6e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700
            056576656e747b227573616765223a7b22696e707574546f6b656e73223a352c226f7574707574546f6b
            656e73223a372c22746f74616c546f6b656e73223a31327d2c226d657472696373223a7b226c6174656e
            63794d73223a397d7d0a3ba102
            """,
        message: EventStreamMessage(
            messageType: "event", eventType: "metadata", contentType: "application/json",
            payload: Array(
                (#"{"usage":{"inputTokens":5,"outputTokens":7,"totalTokens":12},"#
                    + #""metrics":{"latencyMs":9}}"#).utf8)))

    static let throttling = EventStreamVector(
        name: "B: throttling exception",
        hex: """
            0000008300000061a9d144e50f3a657863657074696f6e2d747970650700137468726f74746c696e6745
            7863657074696f6e0d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d
            3a6d6573736167652d74797065070009657863657074696f6e7b226d657373616765223a22736c6f7722
            7d9350311c
            """,
        message: EventStreamMessage(
            messageType: "exception", exceptionType: "throttlingException",
            contentType: "application/json", payload: Array(#"{"message":"slow"}"#.utf8)))

    static let chunk = EventStreamVector(
        name: "C: invoke chunk",
        hex: """
            000000db0000004b7a0909390b3a6576656e742d747970650700056368756e6b0d3a636f6e74656e742d
            747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576
            656e747b226279746573223a2265794a306558426c496a6f696257567a6332466e5a56396b5a57783059
            534973496d526c62485268496a7037496e4e3062334266636d566863323975496a6f695a57356b583352
            31636d34696653776964584e685a3255694f6e736962335630634856305833527661325675637949364e
            333139227d7c4b0940
            """,
        message: EventStreamMessage(
            messageType: "event", eventType: "chunk", contentType: "application/json",
            payload: Array(
                (#"{"bytes":"eyJ0eXBlIjoibWVzc2FnZV9kZWx0YSIsImRlbHRhIjp7InN0b3BfcmVhc29uIjoiZW5k"#
                    + #"X3R1cm4ifSwidXNhZ2UiOnsib3V0cHV0X3Rva2VucyI6N319"}"#).utf8)))

    static let empty = EventStreamVector(
        name: "D: empty message", hex: "000000100000000005c248eb7d98c8ff",
        message: EventStreamMessage(payload: []))

    /// A header of every type, and one string by an unknown name. Checksums by zlib.
    static let everyType = EventStreamVector(
        name: "every type of header",
        hex: """
            000000a2000000909fca80db01740001660102693802ff03693136030007036933320407000001036936
            34050001020304050607056279746573060003000102056f74686572070004746578740d3a6d65737361
            67652d747970650700056572726f72047768656e08000000000000000002696409000102030405060708
            090a0b0c0d0e0f0b3a6572726f722d636f6465070008736c6f77446f776e7b7d63d926dd
            """,
        message: EventStreamMessage(
            messageType: "error", errorCode: "slowDown", payload: Array("{}".utf8)))
}
