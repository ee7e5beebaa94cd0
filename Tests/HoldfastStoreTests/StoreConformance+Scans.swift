import HoldfastCore
import HoldfastLedger
import HoldfastStore
import Testing

extension StoreConformance {
    func scanAll(_ store: any AccountStore) throws {
        #expect(try store.scan(.all, limit: 5, after: nil).isEmpty)
        let keys = ["b", "a", "Z", "é", "ab"].flatMap { cap in
            [key(cap), key(cap, ["x"]), key(cap, id: 9)]
        }
        _ = try store.commit(StoreBatch(puts: keys.map { put($0, spent: 3) }))
        let expected = keys.sorted { $0.text.utf8.lexicographicallyPrecedes($1.text.utf8) }
        for limit in [1, 4, 15, 100] {
            var found: [AccountKey] = []
            while true {
                let part = try store.scan(.all, limit: limit, after: found.last)
                #expect(part.count <= limit)
                #expect(part.allSatisfy { $0.stored.account == account(spent: 3) })
                guard !part.isEmpty, found.count < 100 else { break }
                found += part.map(\.key)
            }
            #expect(found == expected, "limit \(limit)")
        }
        // A key need not exist to be continued after.
        let rest = try store.scan(.all, limit: 100, after: key("aa"))
        #expect(rest.map(\.key) == expected.filter { $0.text > key("aa").text })
    }

    func scanPeriod(_ store: any AccountStore) throws {
        let inside = [key("a", id: 2), key("a", [""], id: 2), key("a", ["x", "y"], id: 2)]
        let outside = [
            key("a", id: 1), key("a", id: 20), key("a", ["x"], id: 20), key("a", id: -2),
            key("a", period: .hour, id: 2), key("b", id: 2), key("a|usd|day|2", id: 2),
            AccountKey(cap: "a", unit: .tokens, period: .day, periodID: 2, values: []),
        ]
        _ = try store.commit(StoreBatch(puts: (outside + inside).map { put($0, spent: 1) }))
        let period = AccountSelection.period(cap: "a", unit: .usd, period: .day, periodID: 2)
        #expect(try store.scan(period, limit: 100, after: nil).map(\.key) == inside)
        #expect(
            try store.scan(period, limit: 1, after: inside[0]).map(\.key) == [inside[1]])
        #expect(try store.scan(period, limit: 100, after: inside[2]).isEmpty)
        let none = AccountSelection.period(cap: "a", unit: .usd, period: .day, periodID: 3)
        #expect(try store.scan(none, limit: 100, after: nil).isEmpty)
    }
}
