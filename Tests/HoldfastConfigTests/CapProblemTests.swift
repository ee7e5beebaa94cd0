import HoldfastConfig
import HoldfastCore
import Testing

@Suite struct `Limits of caps` {
    @Test(
        arguments: [
            ("$0.50", .usd, 500_000_000), ("$1,000", .usd, 1_000_000_000_000),
            ("$0.000000001", .usd, 1), ("$0", .usd, 0), ("2M tokens", .tokens, 2_000_000),
            ("500k tokens", .tokens, 500_000), ("500K tokens", .tokens, 500_000),
            ("1,000,000 tokens", .tokens, 1_000_000), ("1.5M tokens", .tokens, 1_500_000),
            ("0.000001M tokens", .tokens, 1), ("3B tokens", .tokens, 3_000_000_000),
            ("1 token", .tokens, 1), ("7tokens", .tokens, 7),
            ("1152921504606846976 tokens", .tokens, 1 << 60),
            ("$1152921504.606846976", .usd, 1 << 60),
        ] as [(String, CapUnit, UInt64)])
    func `a limit is read exactly`(text: String, unit: CapUnit, amount: UInt64) throws {
        let limit = try CapLimit(text)
        #expect(limit.unit == unit)
        #expect(limit.amount == Amount(amount))
        // Two readers of dollars that disagreed would be two different caps.
        if unit == .usd { #expect(NanoUSD(dollars: text) == NanoUSD(amount)) }
    }

    @Test(arguments: [
        ("500", "does not say of what"), ("500 USD", "does not say of what"),
        ("tokens", "is not a number of tokens"), ("", "is not an amount"),
        ("five dollars", "is not an amount"), ("-5 tokens", "is not a number of tokens"),
        ("$", "is not an amount of dollars"), ("$-5", "is not an amount of dollars"),
        ("$1,50", "is not an amount of dollars"), ("$2M", "is not an amount of dollars"),
        ("$1e3", "is not an amount of dollars"), ("$ 5", "is not an amount of dollars"),
        ("$0.0000000001", "has more than nine decimals"),
        ("1.5 tokens", "is not a whole number of tokens"),
        ("1.0005k tokens", "is not a whole number of tokens"),
        ("2m tokens", "ends in a small m"), ("1,00 tokens", "is not a number of tokens"),
        ("k tokens", "is not a number of tokens"),
        ("$1152921504.606846977", "is more than $1152921504.606846976, the largest"),
        (
            "1152921504606846977 tokens",
            "is more than 1,152,921,504,606,846,976 tokens, the largest"
        ),
        (
            "99999999999999999999B tokens",
            "is more than 1,152,921,504,606,846,976 tokens, the largest"
        ),
    ])
    func `what is not a limit is refused with a reason`(text: String, reason: String) {
        #expect {
            try CapLimit(text)
        } throws: {
            ($0 as? ValueError)?.message == reason
        }
    }
}

@Suite struct `Problems of caps` {
    private func check(
        _ settings: String, _ expected: [String], sourceLocation: SourceLocation = #_sourceLocation
    ) {
        expectProblems(
            cap("name: c, limit: $1, per: day, \(settings)"), expected,
            sourceLocation: sourceLocation)
    }

    @Test func `scope and each cannot have the same dimension`() {
        check(
            "scope: { tenant: acme }, each: tenant",
            [
                "2:68: 'each: tenant' and 'scope' with 'tenant' in one cap; "
                    + "with one tenant there is only one account: drop 'each'"
            ])
    }

    @Test func `scope is global or a map of dimensions`() {
        check(
            "scope: tenant",
            ["2:44: 'scope' must be 'global' or a map; did you mean 'each: tenant'?"])
        check(
            "scope: acme",
            ["2:44: 'scope' must be 'global' or a map; write scope: { tenant: acme }"])
        check(
            "scope: { tenent: acme }",
            ["2:46: unknown key 'tenent' in 'scope'; did you mean 'tenant'?"])
        check("scope: { tenant: }", ["2:54: 'tenant' has no value"])
        check("scope: { tenant: \"\" }", ["2:54: 'tenant' is empty"])
        check(
            "scope: { tenant: \"a\\nb\" }", ["2:54: 'tenant': 'a b' has a control character"])
        let long = String(repeating: "t", count: 257)
        check(
            "scope: { tenant: \(long) }",
            ["2:54: 'tenant': '\(long.prefix(59))…' is longer than 256 bytes"])
    }

    @Test func `each is a dimension, or several different ones`() {
        check(
            "each: galaxy",
            [
                "2:43: 'each': 'galaxy' is not a dimension; there are "
                    + "key, workload, tenant, user, team, session, provider, model"
            ])
        check("each: [user, user]", ["2:50: 'each' has 'user' twice"])
    }

    @Test func `words are one of a few`() {
        check(
            "mode: warn",
            ["2:43: 'mode': 'warn' is not a mode; there are enforce and observe"])
        check(
            "timezone: Europe/Talinn",
            [
                "2:47: 'timezone': 'Europe/Talinn' is not a time zone; "
                    + "did you mean 'Europe/Tallinn'?"
            ])
        check(
            "timezone: Moon",
            [
                "2:47: 'timezone': 'Moon' is not a time zone; use a name such as Europe/Tallinn"
            ])
        expectProblems(
            cap("name: c, limit: $1, per: fortnight"),
            [
                "2:32: 'per': 'fortnight' is not a period; "
                    + "there are hour, day, week, month, total"
            ])
    }

    @Test func `a limit of zero is allowed and pointed out`() throws {
        try expectWarnings(
            cap("name: c, limit: $0, per: day"),
            ["2:23: cap 'c' has a limit of zero: it blocks every request that it applies to"])
    }

    @Test func `no caps at all is pointed out, except on the edge of a cluster`() throws {
        try expectWarnings(
            "providers:\n", ["1:1: there are no 'caps', so nothing is limited"])
        try expectWarnings("counters: [127.0.0.1:7070]\n", [])
    }

    @Test func `a cap that no request can meet is pointed out`() throws {
        try expectWarnings(
            """
            providers: { openai: {} }
            keys:
              - { name: support, secret: "${SUPPORT_KEY}", tenant: acme, allow: [user] }
            caps:
              - { name: a, limit: $1, per: day, scope: { tenant: acme }, each: [user, model] }
              - { name: b, limit: $1, per: day, scope: { user: anyone, key: support } }
              - { name: c, limit: $1, per: day, scope: { tenant: acne } }
              - { name: d, limit: $1, per: day, each: session }
              - { name: e, limit: $1, per: day, scope: { key: suport } }
              - { name: f, limit: $1, per: day, scope: { provider: openia, model: any } }
            """,
            [
                "7:5: cap 'c' never applies: no key has or allows tenant 'acne'",
                "8:5: cap 'd' never applies: no key has or allows 'session'",
                "9:5: cap 'e' never applies: there is no key 'suport'; did you mean 'support'?",
                "10:5: cap 'f' never applies: there is no provider 'openia'; "
                    + "did you mean 'openai'?",
            ])
    }
}
