import HoldfastCore
import HoldfastProviders
import Testing

@Suite struct `Price diff` {
    private static let header = "provider model from certainty input output aliases"

    private func book(_ rows: String...) throws -> PriceBook {
        let lines = ([Self.header] + rows).map { priceTable($0) }
        return try PriceBook(tsv: lines.joined(separator: "\n"))
    }

    @Test func `equal books do not differ`() {
        #expect(PriceDiff(from: .builtIn, to: .builtIn).isEmpty)
    }

    @Test func `what came, went and changed is told apart`() throws {
        let diff = PriceDiff(
            from: try book("acme old - - 1 2 -", "acme same - - 1 2 -", "acme dear - - 4 9 -"),
            to: try book("acme same - - 1 2 -", "acme dear - - 5 6 -", "acme new - - 7 8 -"))
        #expect(diff.added.map(\.name) == ["new"])
        #expect(diff.added.first?.input.nanoUSDPerMillionTokens == 7)
        #expect(diff.removed.map(\.name) == ["old"])
        #expect(diff.removed.first?.output.nanoUSDPerMillionTokens == 2)
        #expect(diff.changed.map(\.item.name) == ["dear"])
        let buckets = try #require(diff.changed.first).buckets
        #expect(buckets.map(\.name) == ["input", "output"])
        #expect(buckets.map(\.old) == [4, 9])
        #expect(buckets.map(\.new) == [5, 6])
        #expect(buckets.map(\.thousandths) == [250, -333])
    }

    @Test func `the same model of another provider is another one`() throws {
        let diff = PriceDiff(from: try book("a m - - 1 2 -"), to: try book("b m - - 1 2 -"))
        #expect(diff.added.map(\.provider) == ["b"])
        #expect(diff.removed.map(\.provider) == ["a"])
    }

    @Test func `days and certainties are rows of their own`() throws {
        let diff = PriceDiff(
            from: try book("acme m - - 1 2 -", "acme m 2026-12-01 - 3 4 -"),
            to: try book("acme m - - 1 2 -", "acme m 2026-12-01 possible 3 4 -"))
        #expect(diff.removed.map(\.from) == ["2026-12-01"])
        #expect(diff.removed.map(\.isConfirmed) == [true])
        #expect(diff.added.map(\.isConfirmed) == [false])
        #expect(diff.changed.isEmpty)
    }

    @Test func `an alias that becomes a model has changed, not come`() throws {
        let diff = PriceDiff(
            from: try book("acme m - - 1 2 m-latest"),
            to: try book("acme m - - 1 2 -", "acme m-latest - - 3 2 -"))
        #expect(diff.added.isEmpty && diff.removed.isEmpty)
        #expect(diff.changed.map(\.item.name) == ["m-latest"])
    }

    @Test func `an alias is told beside its model only where it differs`() throws {
        let one = try book("acme m - - 1 2 a")
        let other = try book("acme m - - 3 2 a,b")
        #expect(PriceDiff(from: one, to: other).changed.map(\.item.name) == ["m"])
        #expect(PriceDiff(from: one, to: other).added.map(\.name) == ["b"])
        #expect(PriceDiff(from: other, to: one).removed.map(\.name) == ["b"])
        let none = try book("acme other - - 1 2 -")
        #expect(PriceDiff(from: none, to: other).added.map(\.name) == ["m"])
        #expect(PriceDiff(from: other, to: none).removed.map(\.name) == ["m"])
    }

    @Test func `what becomes known or unknown is a change`() throws {
        let plain = try PriceBook(tsv: priceTable("provider model input output", "acme m 10 20"))
        let rich = try PriceBook(
            tsv: priceTable(
                "provider model input output cache_read context tiers long_above long_input "
                    + "long_output web_search_nano_usd_per_call",
                "acme m 10 20 1 1000 flex:5///10 500 20 30 7"))
        let buckets = try #require(PriceDiff(from: plain, to: rich).changed.first).buckets
        #expect(
            buckets.map(\.name) == [
                "cache read", "long above", "long input", "long output", "flex input",
                "flex output", "web search", "context",
            ])
        #expect(buckets.allSatisfy { $0.old == nil && $0.thousandths == nil })
        #expect(buckets.map(\.new) == [1, 500, 20, 30, 5, 10, 7, 1000])
        let back = try #require(PriceDiff(from: rich, to: plain).changed.first).buckets
        #expect(back.map(\.old) == buckets.map(\.new))
    }

    @Test func `listings are the rows of the table`() throws {
        let listings = PriceBook.builtIn.listings
        #expect(listings.count == priceFields(.builtIn).count)
        let book = try self.book("acme m 2026-12-01 - 1 2 a,b")
        let listing = try #require(book.listings.first)
        #expect(listing.aliases == ["a", "b"])
        #expect(listing.from == "2026-12-01")
        #expect(listing.isConfirmed)
        #expect(listing.cacheRead == nil)
        #expect(listing.output.nanoUSDPerMillionTokens == 2)
    }

    @Test func `providers that the other book does not price stay`() throws {
        let mine = try book("a one - - 1 2 -", "b two - - 1 2 x")
        let merged = try mine.replacingProviders(of: try book("a three - - 5 6 -"))
        #expect(try merged == book("b two - - 1 2 x", "a three - - 5 6 -"))
    }
}
