import HoldfastCore
import Testing

@Suite struct `Leases` {
    @Test(
        arguments: [
            (0, 0), (0, 1), (1, 0), (1, .max), (7, 5), (UInt64(UInt32.max), .max),
        ] as [(UInt64, UInt32)])
    func `a session says which generation of the store issued it`(
        generation: UInt64, number: UInt32
    ) {
        let session = SessionID(generation: generation, number: number)
        #expect(session.generation == generation)
        #expect(UInt32(truncatingIfNeeded: session.rawValue) == number)
        #expect(SessionID(session.rawValue) == session)
    }

    @Test func `every session of a generation comes before those of the next`() {
        let last = SessionID(generation: 1, number: .max)
        let first = SessionID(generation: 2, number: 0)
        #expect(last < first)
        #expect(!(first < last))
        #expect(!(first < first))
    }

    @Test func `a wish for nothing withdraws the one before`() {
        func wish(_ need: UInt64, _ ceiling: UInt64) -> LeaseWish {
            LeaseWish(number: 1, need: Amount(need), ceiling: Amount(ceiling))
        }
        #expect(wish(0, 0).isWithdrawal)
        #expect(!wish(0, 1).isWithdrawal)
        #expect(!wish(1, 1).isWithdrawal)
    }
}
