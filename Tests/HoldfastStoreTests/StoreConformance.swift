import HoldfastCore
import HoldfastLedger
import HoldfastStore
import Testing

/// What every store promises, one case each. To test another store, write one test with
/// `arguments: StoreConformance.allCases` that calls `check` with a way to open it.
enum StoreConformance: String, CaseIterable, CustomTestStringConvertible {
    /// Opens the same, at first empty store each time; the one before has been closed.
    /// `isRestored`: as one that may have lost writes.
    typealias Opening = (_ isRestored: Bool) throws -> any AccountStore

    case `a key that was never written is absent`
    case `an account comes back as it was put`
    case `a put with the wrong version changes nothing`
    case `a conflict leaves the rest of the batch alone`
    case `versions count up by one`
    case `an empty batch is fine`
    case `keys with awkward values stay apart`
    case `of two writers one wins`
    case `of many writers at once one wins each time`
    case `a batch is written whole or not at all`
    case `a report of a closed or unknown session writes nothing`
    case `no session closes beside a conflict`
    case `sessions increase and are never issued again`
    case `a closed session stays closed`
    case `a seen session is marked with the floor, which never goes back`
    case `sessions are listed in order and can be continued`
    case `sessions are selected`
    case `a new store has nothing to learn`
    case `a restored store must be learned, and issues new ids`
    case `a generation is learned once and for all`
    case `only a session of an earlier generation is adopted`
    case `the clock floor never goes back`
    case `a secret is made once`
    case `what operators did is kept, newest first`
    case `texts come back byte by byte`
    case `a scan is in order and can be continued`
    case `a scan of one period has no other`
    case `what was committed is there after reopening`
    case `a closed store refuses everything`

    var testDescription: String { rawValue }

    func check(_ open: Opening) throws {
        let store = try open(false)
        defer { store.close() }
        switch self {
        case .`a key that was never written is absent`: try absent(store)
        case .`an account comes back as it was put`: try roundTrip(store)
        case .`a put with the wrong version changes nothing`: try wrongVersion(store)
        case .`a conflict leaves the rest of the batch alone`: try partialConflict(store)
        case .`versions count up by one`: try versions(store)
        case .`an empty batch is fine`: #expect(try store.commit(StoreBatch()) == CommitResult())
        case .`keys with awkward values stay apart`: try awkwardKeys(store)
        case .`of two writers one wins`: try writers(store)
        case .`of many writers at once one wins each time`: try manyWriters(store)
        case .`a batch is written whole or not at all`: try wholeBatches(store, open)
        case .`a report of a closed or unknown session writes nothing`: try goneReporter(store)
        case .`no session closes beside a conflict`: try closingConflict(store)
        case .`sessions increase and are never issued again`: try sessions(store, open)
        case .`a closed session stays closed`: try closedSession(store)
        case .`a seen session is marked with the floor, which never goes back`:
            try seenSession(store, open)
        case .`sessions are listed in order and can be continued`: try sessionPages(store)
        case .`sessions are selected`: try sessionSelection(store)
        case .`a new store has nothing to learn`: try newStore(store, open)
        case .`a restored store must be learned, and issues new ids`: try restored(store, open)
        case .`a generation is learned once and for all`: try learned(store, open)
        case .`only a session of an earlier generation is adopted`: try adoption(store, open)
        case .`the clock floor never goes back`: try clockFloor(store, open)
        case .`a secret is made once`: try secret(store, open)
        case .`what operators did is kept, newest first`: try operatorRecords(store, open)
        case .`texts come back byte by byte`: try texts(store)
        case .`a scan is in order and can be continued`: try scanAll(store)
        case .`a scan of one period has no other`: try scanPeriod(store)
        case .`what was committed is there after reopening`: try durable(store, open)
        case .`a closed store refuses everything`: closed(store)
        }
    }
}
