import HoldfastCore
import Testing

@Suite struct `Nano-dollars` {
    @Test(
        arguments: [
            ("0", 0), ("500", 500_000_000_000), ("$500", 500_000_000_000), ("0.25", 250_000_000),
            ("1,000.50", 1_000_500_000_000), ("1_000", 1_000_000_000_000),
            ("1,234,567", 1_234_567_000_000_000), ("0.000000001", 1), ("00.10", 100_000_000),
            ("1152921504.606846976", 1_152_921_504_606_846_976),
        ] as [(String, UInt64)])
    func `decimal dollars are read exactly`(text: String, nanos: UInt64) {
        #expect(NanoUSD(dollars: text) == NanoUSD(nanos))
    }

    @Test(arguments: [
        "", "$", ".", "5.", ".5", "-5", "+5", "1e3", "1.2.3", "5 ", " 5", "$$5", "five", "0x10",
        "１", "0.0000000001", "1.5,0",
    ])
    func `what is not an amount is refused`(text: String) {
        #expect(NanoUSD(dollars: text) == nil)
    }

    @Test(arguments: ["1,50", "1,5", ",500", "500,", "1,,000", "1000,000", "12,3456", "1,000,00"])
    func `a comma that does not separate thousands is refused`(text: String) {
        #expect(NanoUSD(dollars: text) == nil)
    }

    @Test(arguments: ["1152921504.606846977", "1152921505", "18446744074", "99999999999999999999"])
    func `more than the largest amount is refused`(text: String) {
        #expect(NanoUSD(dollars: text) == nil)
    }

    @Test(
        arguments: [
            (0, "0.00"), (1, "0.000000001"), (37_500_000, "0.0375"), (500_000_000_000, "500.00"),
            (1_010_000_000, "1.01"), (1_100_000_000, "1.10"), (UInt64.max, "18446744073.709551615"),
        ] as [(UInt64, String)])
    func `printing loses nothing`(nanos: UInt64, text: String) {
        #expect(NanoUSD(nanos).dollars == text)
        if nanos <= Limits.amountMax { #expect(NanoUSD(dollars: text) == NanoUSD(nanos)) }
    }

    @Test func `sums are exact up to the last nano-dollar`() {
        #expect(NanoUSD(1) + NanoUSD(2) == NanoUSD(3))
        #expect(NanoUSD(.max - 1) + NanoUSD(1) == NanoUSD(.max))
        #expect(NanoUSD(1) < NanoUSD(2))
        #expect(!(NanoUSD(2) < NanoUSD(2)))
    }

    @Test func `a sum that does not fit stops the process`() async {
        await #expect(processExitsWith: .failure) {
            _ = NanoUSD(.max) + NanoUSD(1)
        }
    }
}

@Suite struct `Amounts` {
    @Test func `sums and differences are exact`() {
        var amount = Amount(5) + Amount(3)
        #expect(amount == Amount(8))
        amount += Amount(.max - 8)
        #expect(amount == Amount(.max))
        amount -= Amount(.max - 1)
        #expect(amount == Amount(1))
        #expect(amount - Amount(1) == .zero)
        #expect(Amount(.max) - .zero == Amount(.max))
        #expect(Amount(1) < Amount(2))
        #expect(!(Amount(2) < Amount(2)))
    }

    @Test func `excess is zero unless larger`() {
        #expect(Amount(5).excess(over: Amount(3)) == Amount(2))
        #expect(Amount(3).excess(over: Amount(3)) == .zero)
        #expect(Amount(3).excess(over: Amount(5)) == .zero)
    }

    @Test func `a saturating sum stops at the largest amount`() {
        #expect(Amount(1).saturatingAdd(Amount(2)) == Amount(3))
        #expect(Amount(.max - 1).saturatingAdd(Amount(1)) == Amount(.max))
        #expect(Amount(.max).saturatingAdd(Amount(.max)) == Amount(.max))
    }

    @Test func `an amount below zero stops the process`() async {
        await #expect(processExitsWith: .failure) {
            _ = Amount(1) - Amount(2)
        }
    }

    @Test func `a sum that does not fit stops the process`() async {
        await #expect(processExitsWith: .failure) {
            _ = Amount(.max) + Amount(1)
        }
    }

    @Test(
        arguments: [
            (500_000_000, CapUnit.usd, "$0.50"), (0, .tokens, "0 tokens"),
            (999, .tokens, "999 tokens"),
            (1_000, .tokens, "1,000 tokens"), (12_000_000, .tokens, "12,000,000 tokens"),
        ] as [(UInt64, CapUnit, String)])
    func `amounts are printed in their unit`(raw: UInt64, unit: CapUnit, text: String) {
        #expect(Amount(raw).formatted(unit) == text)
    }

    @Test func `programs read amounts without signs and separators`() {
        #expect(Amount(500_000_000).plain(.usd) == "0.50")
        #expect(Amount(.max).plain(.usd) == "18446744073.709551615")
        #expect(Amount(12_000_000).plain(.tokens) == "12000000")
        #expect(CapUnit.allCases.map(\.name) == ["usd", "tokens"])
    }
}

@Suite struct `Cost of tokens` {
    private struct Row {
        var usage: TokenUsage
        var nanos: UInt64?
    }

    /// $0.0375 per million input, and prime rates elsewhere so that no two buckets can be confused.
    private let rates = TokenRates(
        input: TokenPrice(nanoUSDPerMillionTokens: 37_500_000),
        cacheRead: TokenPrice(nanoUSDPerMillionTokens: 3),
        cacheWrite: TokenPrice(nanoUSDPerMillionTokens: 5_000_003),
        cacheWriteLong: TokenPrice(nanoUSDPerMillionTokens: 7_000_003),
        output: TokenPrice(nanoUSDPerMillionTokens: 11_000_027))

    @Test func `the cost is rounded up once for the whole request`() {
        check(Row(usage: .zero, nanos: 0))
        check(Row(usage: TokenUsage(uncachedInput: 2), nanos: 75))
        check(Row(usage: TokenUsage(uncachedInput: 1), nanos: 38))
        // 37.5 + 37.5: rounding each token up would give 76.
        check(Row(usage: TokenUsage(uncachedInput: 1_000_000), nanos: 37_500_000))
        check(Row(usage: TokenUsage(cacheRead: 1), nanos: 1))
        check(Row(usage: TokenUsage(cacheRead: 333_333), nanos: 1))
        check(Row(usage: TokenUsage(cacheRead: 333_334), nanos: 2))
        // 37.5 + 0.000003 + 5.000003 + 7.000003 + 11.000027 = 60.500036.
        check(
            Row(
                usage: TokenUsage(
                    uncachedInput: 1, cacheRead: 1, cacheWrite: 1, cacheWriteLong: 1, output: 1),
                nanos: 61))
    }

    @Test func `every bucket has its own price`() {
        let million: UInt64 = 1_000_000
        check(Row(usage: TokenUsage(cacheRead: million), nanos: 3))
        check(Row(usage: TokenUsage(cacheWrite: million), nanos: 5_000_003))
        check(Row(usage: TokenUsage(cacheWriteLong: million), nanos: 7_000_003))
        check(Row(usage: TokenUsage(output: million), nanos: 11_000_027))
    }

    @Test func `a cost that does not fit is no cost, never a small one`() {
        check(Row(usage: TokenUsage(uncachedInput: Limits.amountMax + 1), nanos: nil))
        check(Row(usage: TokenUsage(output: .max), nanos: nil))
        let dear = TokenPrice(nanoUSDPerMillionTokens: .max)
        let dearest = TokenRates(
            input: dear, cacheRead: dear, cacheWrite: dear, cacheWriteLong: dear, output: dear)
        let most = Limits.amountMax
        #expect(
            dearest.cost(
                of: TokenUsage(
                    uncachedInput: most, cacheRead: most, cacheWrite: most, cacheWriteLong: most,
                    output: most)) == nil)
    }

    @Test func `the dearest of two tables is the dearer price of each bucket`() {
        var other = rates
        other.input = TokenPrice(nanoUSDPerMillionTokens: 1)
        other.output = TokenPrice(nanoUSDPerMillionTokens: 99_000_000)
        let dearest = rates.dearest(other)
        #expect(dearest == other.dearest(rates))
        #expect(dearest.input == rates.input)
        #expect(dearest.output == other.output)
        #expect(dearest.cacheWriteLong == rates.cacheWriteLong)
    }

    @Test func `the prompt is everything but the output`() {
        let usage = TokenUsage(
            uncachedInput: 1, cacheRead: 10, cacheWrite: 100, cacheWriteLong: 1_000, output: 10_000)
        #expect(usage.prompt == 1_111)
        #expect(usage.total == 11_111)
    }

    private func check(_ row: Row, sourceLocation: SourceLocation = #_sourceLocation) {
        #expect(
            rates.cost(of: row.usage) == row.nanos.map { NanoUSD($0) },
            sourceLocation: sourceLocation)
    }
}
