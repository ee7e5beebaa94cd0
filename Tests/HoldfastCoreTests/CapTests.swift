import HoldfastCore
import Testing

@Suite struct `Caps` {
    private func request(_ values: [ScopeDimension: String]) -> ScopeValues {
        var request = ScopeValues()
        for (dimension, value) in values { request[dimension] = value }
        return request
    }

    private func cap(
        scope: [ScopeDimension: String] = [:], each: [ScopeDimension] = []
    ) -> Cap {
        Cap(name: "c", unit: .usd, limit: Amount(1), period: .day, scope: scope, each: each)
    }

    @Test func `a cap without a scope counts every request in one account`() {
        #expect(cap().accountValues(for: request([:])) == [])
        #expect(cap().accountValues(for: request([.tenant: "acme", .user: "u"])) == [])
    }

    @Test func `a scope takes only requests with exactly its values`() {
        let acme = cap(scope: [.tenant: "acme", .model: "gpt"])
        #expect(acme.accountValues(for: request([.tenant: "acme", .model: "gpt"])) == [])
        #expect(acme.accountValues(for: request([.tenant: "acme"])) == nil)
        #expect(acme.accountValues(for: request([.tenant: "other", .model: "gpt"])) == nil)
        #expect(acme.accountValues(for: request([:])) == nil)
    }

    @Test func `each makes one account per combination, in the cap's own order`() {
        let perUser = cap(scope: [.tenant: "acme"], each: [.user, .model])
        #expect(
            perUser.accountValues(for: request([.tenant: "acme", .user: "u", .model: "m"]))
                == ["u", "m"])
        #expect(perUser.accountValues(for: request([.tenant: "acme", .user: "u"])) == nil)
        #expect(perUser.accountValues(for: request([.user: "u", .model: "m"])) == nil)
    }

    @Test func `the scope is described for people`() {
        #expect(cap().scopeDescription == "global")
        #expect(
            cap(scope: [.model: "m", .tenant: "acme"], each: [.user]).scopeDescription
                == "tenant=acme, model=m, each user")
    }

    @Test func `an account is described by its values`() {
        let perUser = cap(scope: [.tenant: "acme"], each: [.user, .model])
        let account = AccountKey(
            cap: "c", unit: .usd, period: .day, periodID: 1, values: ["u-17", "gpt"])
        #expect(perUser.scopeDescription(of: account) == "tenant=acme, user=u-17, model=gpt")
        let all = AccountKey(cap: "c", unit: .usd, period: .day, periodID: 1, values: [])
        #expect(cap().scopeDescription(of: all) == "global")
    }

    @Test func `modes have names`() {
        #expect([CapMode.enforce, .observe].map(\.name) == ["enforce", "observe"])
    }

    @Test func `a limit above the largest amount stops the process`() async {
        await #expect(processExitsWith: .failure) {
            _ = Cap(
                name: "c", unit: .usd, limit: Amount(Limits.amountMax + 1), period: .day)
        }
    }

    @Test func `dimensions are found by their names only`() {
        for dimension in ScopeDimension.allCases {
            #expect(ScopeDimension(name: dimension.name) == dimension)
        }
        #expect(ScopeDimension(name: "Tenant") == nil)
        #expect(ScopeDimension(name: "") == nil)
        #expect(
            ScopeDimension.allCases.filter(\.isCallerSettable)
                == [.workload, .tenant, .user, .team, .session])
    }
}

@Suite struct `Account keys` {
    @Test(
        arguments: [
            [], [""], ["", ""], ["acme"], ["a|b", "100%", "%7C"], ["line\nbreak\u{0}\u{7F}"],
            ["ümläut", "日本", "🧾"], [" spaces ", "a=b&c"],
        ] as [[String]])
    func `the text of a key names the same key again`(values: [String]) throws {
        for period in PeriodKind.allCases {
            let key = AccountKey(
                cap: "each|user%", unit: .tokens, period: period, periodID: -20_778, values: values)
            let again = try #require(AccountKey(text: key.text))
            #expect(again == key)
            #expect(again.values == values)
            #expect(again.text == key.text)
            #expect("\(again)" == key.text)
            #expect(key.text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F })
        }
    }

    @Test func `the text is readable`() {
        let key = AccountKey(
            cap: "acme-daily", unit: .usd, period: .day, periodID: 20_778, values: ["a|b", "u"])
        #expect(key.text == "acme-daily|usd|day|20778|a%7Cb|u")
    }

    @Test(arguments: [
        "", "|usd|day|1", "c|usd|day", "c|eur|day|1", "c|usd|fortnight|1", "c|usd|day|",
        "c|usd|day|x", "c|usd|day|1.0", "c|usd|day|1|%", "c|usd|day|1|%4", "c|usd|day|1|%GG",
        "c|usd|day|1|%FF", "c|usd|day|99999999999999999999",
    ])
    func `what is not a key is refused`(text: String) {
        #expect(AccountKey(text: text) == nil)
    }

    @Test(arguments: [
        "c|usd|day|+1", "c|usd|day|01", "c|usd|day|-0", "c|usd|day|1|%7c", "c|usd|day|1|%41",
        "c|usd|day|1|%+F", "c|usd|day|1|\n",
    ])
    func `a second spelling of a key is refused`(text: String) {
        #expect(AccountKey(text: text) == nil)
    }

    @Test func `texts that only look the same are different accounts`() throws {
        let composed = key(values: ["caf\u{E9}"])
        let decomposed = key(values: ["cafe\u{301}"])
        #expect(composed.values == decomposed.values, "Swift's own comparison takes them for equal")
        #expect(composed != decomposed)
        #expect(Set([composed, decomposed]).count == 2)
        #expect(try #require(AccountKey(text: decomposed.text)) == decomposed)
    }

    @Test func `every part tells keys apart`() {
        let keys: Set = [
            key(values: []), key(values: [""]), key(values: ["a", "b"]), key(values: ["ab"]),
            key(values: ["ab", ""]), key(values: ["b", "a"]),
            AccountKey(cap: "d", unit: .usd, period: .day, periodID: 1, values: []),
            AccountKey(cap: "c", unit: .tokens, period: .day, periodID: 1, values: []),
            AccountKey(cap: "c", unit: .usd, period: .hour, periodID: 1, values: []),
            AccountKey(cap: "c", unit: .usd, period: .day, periodID: 2, values: []),
        ]
        #expect(keys.count == 10)
        #expect(Set(keys.map(\.text)).count == 10)
        #expect(keys.contains(key(values: ["a", "b"])))
    }

    private func key(values: [String]) -> AccountKey {
        AccountKey(cap: "c", unit: .usd, period: .day, periodID: 1, values: values)
    }
}
