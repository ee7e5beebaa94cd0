import HoldfastCore
import HoldfastLedger

extension SmallModel {
    /// 128 bits of a state: equal ones are taken for the same.
    struct Fingerprint: Hashable {
        private var low: UInt64 = 0x243F_6A88_85A3_08D3
        private var high: UInt64 = 0x1319_8A2E_0370_7344

        init(_ bytes: [UInt8]) {
            var word: UInt64 = 0
            for (index, byte) in bytes.enumerated() {
                word = word << 8 | UInt64(byte)
                if index % 8 == 7 {
                    add(word)
                    word = 0
                }
            }
            add(word)
            add(UInt64(bytes.count))
        }

        private mutating func add(_ word: UInt64) {
            low = Self.mix(low ^ word)
            high = Self.mix(high &+ word &* 0xD6E8_FEB8_6659_FD93)
        }

        /// The finalizer of SplitMix64, a permutation.
        private static func mix(_ value: UInt64) -> UInt64 {
            var mixed = value &+ 0x9E37_79B9_7F4A_7C15
            mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
            mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
            return mixed ^ (mixed >> 31)
        }

        func hash(into hasher: inout Hasher) { hasher.combine(low) }
    }
}

/// The canonical form of a state. States that behave alike look alike: of numbers that only grow
/// and are only compared the order counts, the counters have no names, and the order in which
/// messages lie in the network means nothing.
extension SmallModel.World {
    func fingerprint(of state: State) -> SmallModel.Fingerprint {
        SmallModel.Fingerprint(encoding(of: state))
    }

    func fingerprintApartFromNetwork(_ state: State) -> SmallModel.Fingerprint {
        var state = state
        state.network = []
        return fingerprint(of: state)
    }

    /// What is looked up again and again while one state is encoded.
    private struct Names {
        let sessions: [SessionID]
        /// The wish numbers in use, of each edge and account.
        var wishNumbers: [[UInt64]] = []
        /// How each edge calls each account now.
        let references: [[UInt32?]]

        /// For sessions that are gone all numbers are in use: that is no canonical form, and none
        /// is needed for so few.
        func wishNumbers(_ session: SessionID, _ account: Int) -> UInt64 {
            sessions.firstIndex(of: session).map { wishNumbers[$0][account] } ?? .max
        }

        func isCurrent(_ reference: UInt32, _ session: SessionID, _ account: Int) -> Bool {
            sessions.firstIndex(of: session).map { references[$0][account] == reference } ?? false
        }
    }

    private func encoding(of state: State) -> [UInt8] {
        var names = Names(
            sessions: state.edges.indices.map { state.edges[$0].session },
            references: state.edges.indices.map { index in
                keys.map { key in
                    state.edges[index].ledger.existingSlot(for: key)
                        .map { state.edges[index].ledger.reference(of: $0) }
                }
            })
        names.wishNumbers = wishNumbers(in: state)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(512)
        bytes.append(UInt8(state.edgeCrashesLeft))
        bytes.append(UInt8(state.counterCrashesLeft))
        for index in state.edges.indices {
            encode(state.edges[index], names.wishNumbers[index], into: &bytes)
        }
        for account in keys.indices { encode(account, state, into: &bytes) }
        bytes.append(UInt8(state.store.closed.count))
        for session in state.store.closed.sorted() { bytes.append(UInt8(session.rawValue)) }
        for crashed in state.crashed {
            bytes.append(UInt8(crashed.session.rawValue))
            encode(crashed.journal, into: &bytes)
        }
        append(
            state.counters.indices.map { encoding(of: state.counters[$0], state, names) },
            to: &bytes)
        let messages = state.network.map { encoding(of: $0, names) }
        if bounds.hasLongDelays {
            append(messages, to: &bytes)
        } else {
            for message in messages { bytes += [UInt8(message.count)] + message }
        }
        return bytes
    }

    private func append(_ parts: [[UInt8]], to bytes: inout [UInt8]) {
        for part in parts.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
            bytes.append(UInt8(truncatingIfNeeded: part.count))
            bytes += part
        }
    }

    // MARK: - Wish numbers

    /// Those in use, one set for each edge and account. Only the order within one matters: an edge
    /// numbers its wishes upwards, and everybody compares with others of the same session and
    /// account. Wishes of sessions that are gone are not compared with new ones any more.
    private func wishNumbers(in state: State) -> [[UInt64]] {
        var masks: [[UInt64]] = []
        for index in state.edges.indices {
            let session = state.edges[index].session
            var ofEdge: [UInt64] = []
            for (account, key) in keys.enumerated() {
                var mask: UInt64 = 0
                state.edges[index].ledger.markWishNumbers(
                    of: key, canForget: bounds.hasForgetting, in: &mask)
                for counter in state.counters.indices {
                    state.counters[counter].cached[account]?.ledger
                        .markWishNumbers(of: session, in: &mask)
                }
                for message in state.network where message.session == session {
                    mark(message, account, in: &mask)
                }
                ofEdge.append(mask)
            }
            masks.append(ofEdge)
        }
        return masks
    }

    private func mark(_ message: Message, _ account: Int, in mask: inout UInt64) {
        switch message {
        case .report(_, let entries, _):
            for entry in entries where entry.account == account {
                mask.mark(entry.report.wish?.number ?? 0)
            }
        case .grant(_, account: account, _, let grant):
            if bounds.hasForgetting { mask.mark(grant.unmetWish) }
        case .grant, .recall: break
        }
    }

    // MARK: - Parts

    private func encode(
        _ edge: SmallModel.Edge, _ masks: [UInt64], into bytes: inout [UInt8]
    ) {
        bytes.append(UInt8(edge.session.rawValue))
        bytes.append(edge.stage.rawValue << 1 | (edge.hasRolled ? 1 : 0))
        bytes.append(UInt8(edge.requestsLeft))
        // Which of two equal holds is settled first makes no difference.
        let flights = edge.flights.map { [UInt8($0.demand.account)] + $0.demand.ceilings.bytes }
        append(flights, to: &bytes)
        bytes.append(UInt8(edge.flights.count))
        if bounds.isJournaled {
            encode(edge.journal, into: &bytes)
            bytes.append(edge.unconfirmed == nil ? 0 : 1)
        }
        edge.ledger.encode(
            keys, wishNumbers: masks, canForget: bounds.hasForgetting,
            canWait: edge.requestsLeft > 0 || !edge.waiting.isEmpty, into: &bytes)
    }

    private func encode(_ journal: [Amount], into bytes: inout [UInt8]) {
        bytes.append(UInt8(journal.count))
        bytes += journal.bytes
    }

    private func encode(_ account: Int, _ state: State, into bytes: inout [UInt8]) {
        let bill = state.bills[account]
        bytes.append(bill.billed)
        bytes.append(bill.inFlight)
        bytes.append(bill.allowed)
        let stored = state.store.accounts[account].account
        bytes.append(stored.base)
        bytes.append(UInt8(stored.lines.count))
        for line in stored.lines {
            bytes.append(UInt8(line.session.rawValue))
            bytes.append(line.granted)
            bytes.append(line.released)
            bytes.append(line.spent)
            bytes.append(line.unlocked)
        }
    }

    private func encoding(
        of counter: SmallModel.Counter, _ state: State, _ names: Names
    ) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(96)
        bytes.append(counter.limit)
        bytes.append(counter.hasRolled ? 1 : 0)
        bytes.append(UInt8(counter.left.count))
        for session in counter.left.sorted() { bytes.append(UInt8(session.rawValue)) }
        for account in keys.indices {
            for session in names.sessions {
                let known = counter.reference(session, account)
                bytes.append(
                    known.map { names.isCurrent($0, session, account) ? 2 : 1 } ?? 0)
            }
            guard let cached = counter.cached[account] else {
                bytes.append(0)
                continue
            }
            let isFresh = cached.version == state.store.accounts[account].version
            bytes.append(isFresh ? 1 : 2)
            cached.ledger.encode(
                wishNumbers: { names.wishNumbers($0, account) }, into: &bytes)
        }
        return bytes
    }

    private func encoding(of message: Message, _ names: Names) -> [UInt8] {
        let session = UInt8(message.session.rawValue)
        switch message {
        case .report(_, let entries, let isLast):
            var bytes: [UInt8] = [isLast ? 3 : 0, session]
            for entry in entries {
                let mask = names.wishNumbers(message.session, entry.account)
                let isCurrent = names.isCurrent(
                    entry.reference, message.session, entry.account)
                bytes.append(UInt8(entry.account) << 1 | (isCurrent ? 1 : 0))
                let report = entry.report
                bytes +=
                    [
                        report.granted, report.released, report.spent, report.held, report.unlocked,
                    ].bytes
                bytes.append(report.wish, mask)
                bytes.append(UInt8(report.recallEpoch))
            }
            return bytes
        case .grant(_, let account, _, let grant):
            // What the rest says changes no decision of the ledger, only what callers are told.
            let mask = names.wishNumbers(message.session, account)
            return [1, session, UInt8(account) << 1 | (grant.isCentral ? 1 : 0)]
                + [grant.granted, grant.released, grant.spent].bytes
                + (bounds.hasForgetting ? [mask.rank(of: grant.unmetWish)] : [])
        case .recall(_, let account, _, let epoch):
            return [2, session, UInt8(account), UInt8(epoch)]
        }
    }
}

extension [Amount] {
    fileprivate var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        for amount in self { bytes.append(amount) }
        return bytes
    }
}
