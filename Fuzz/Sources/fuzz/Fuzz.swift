import Foundation

/// One input of the fuzzer: its first byte chooses a decoder, the rest is what the decoder reads.
///
/// A finding is a trap: one of a decoder, or one of the preconditions with which the checks say
/// what must hold of everything that was decoded.
enum Decoder: UInt8, CaseIterable {
    case edgeFrame = 0
    case counterFrame = 1
    /// The bytes of a connection, in pieces.
    case stream = 2
    /// A stored account whose checksum is made right first, so that the rest is read.
    case sealedAccount = 3
    case account = 4

    func check(_ bytes: [UInt8]) {
        switch self {
        case .edgeFrame: checkEdgeFrame(bytes)
        case .counterFrame: checkCounterFrame(bytes)
        case .stream: checkStream(bytes)
        case .sealedAccount: checkAccount(sealed(bytes))
        case .account: checkAccount(bytes)
        }
    }
}

@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let input = UnsafeBufferPointer(start: start, count: count)
    guard let first = input.first,
        let decoder = Decoder(rawValue: first % UInt8(Decoder.allCases.count))
    else { return 0 }
    decoder.check(Array(input.dropFirst()))
    return 0
}

/// With `HOLDFAST_SEEDS` the process writes the seed corpus into that folder and ends: a binary with
/// the fuzzer in it has no `main` of ours.
@_cdecl("LLVMFuzzerInitialize")
public func initialize(
    _ argumentCount: UnsafeMutablePointer<CInt>?,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>?
) -> CInt {
    guard let folder = ProcessInfo.processInfo.environment["HOLDFAST_SEEDS"] else { return 0 }
    do {
        for (name, bytes) in Seeds.all {
            try Data(bytes).write(to: URL(filePath: folder).appending(path: name))
        }
    } catch {
        preconditionFailure("the seeds cannot be written: \(error)")
    }
    exit(0)
}
