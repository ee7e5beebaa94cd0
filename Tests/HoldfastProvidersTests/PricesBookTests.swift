import HoldfastCore
import HoldfastProviders
import Testing

/// Tables are written with spaces between fields, `-` for an empty one.
func priceTable(_ lines: String...) -> String {
    lines.map { line in
        line.split(separator: " ").map { $0 == "-" ? "" : String($0) }.joined(separator: "\t")
    }.joined(separator: "\n")
}

@Suite struct `Price table` {
    static let header = "provider model from certainty input output aliases"
    static let row = "acme small - - 1 2 -"

    struct Refusal: Sendable, CustomTestStringConvertible {
        var table: String
        var line: Int
        var says: String

        var testDescription: String { "line \(line): \(says)" }
    }

    @Test(arguments: [
        Refusal(table: priceTable("provider model input", row), line: 1, says: "column output"),
        Refusal(table: priceTable("\(header) inputs", row), line: 1, says: "\"inputs\""),
        Refusal(table: priceTable("\(header) input", row), line: 1, says: "input twice"),
        Refusal(table: priceTable(header, "acme small - - 1 2"), line: 2, says: "6 fields"),
        Refusal(table: priceTable(header, row, "acme big - - 1 2 - 9"), line: 3, says: "8 fields"),
        Refusal(table: priceTable(header, "- small - - 1 2 -"), line: 2, says: "provider"),
        Refusal(table: priceTable(header, "acme - - - 1 2 -"), line: 2, says: "model"),
        Refusal(table: priceTable(header, "acme small - - -1 2 -"), line: 2, says: "\"-1\""),
        Refusal(table: priceTable(header, "acme small - - +1 2 -"), line: 2, says: "\"+1\""),
        Refusal(table: priceTable(header, "acme small - - 1.5 2 -"), line: 2, says: "\"1.5\""),
        Refusal(table: priceTable(header, "acme small - - 1 free -"), line: 2, says: "\"free\""),
        Refusal(table: priceTable(header, "acme small - - 0 2 -"), line: 2, says: "unknown"),
        Refusal(table: priceTable(header, "acme small - - 1 0 -"), line: 2, says: "unknown"),
        Refusal(table: priceTable(header, "acme small - - - 2 -"), line: 2, says: "input is empty"),
        Refusal(
            table: priceTable(header, "acme small - - 1 - -"), line: 2, says: "output is empty"),
        Refusal(
            table: priceTable(header, "acme small - - 1000000000000001 2 -"), line: 2,
            says: "whole number"),
        Refusal(
            table: priceTable(header, "acme small 2026-02-30 - 1 2 -"), line: 2,
            says: "YYYY-MM-DD"),
        Refusal(table: priceTable(header, "acme small - maybe 1 2 -"), line: 2, says: "certainty"),
        Refusal(
            table: priceTable(header, row, row), line: 3, says: "a second price for small"),
        Refusal(
            table: priceTable(
                header, row, "acme small 2026-01-01 - 1 2 -", "",
                "acme small 2026-01-01 - 1 3 -"),
            line: 5, says: "a second price for small from 2026-01-01"),
        Refusal(
            table: priceTable(header, "acme small - possible 1 2 -"), line: 2,
            says: "no confirmed one"),
        Refusal(
            table: priceTable(header, row, "acme big - - 1 2 small"), line: 3,
            says: "already names another model"),
        Refusal(
            table: priceTable(header, "acme big - - 1 2 small", row), line: 3,
            says: "already an alias of big"),
        Refusal(
            table: priceTable(header, "acme small - - 1 2 small-latest?"), line: 2,
            says: "not a model name"),
        Refusal(table: priceTable(header, "acme small - - 1 2 a,,b"), line: 2, says: "aliases"),
        Refusal(
            table: priceTable("provider model input output tiers", "acme a 1 2 flex:1/2/3"),
            line: 2, says: "name:input/read/write/output"),
        Refusal(
            table: priceTable("provider model input output tiers", "acme a 1 2 flex:1///"),
            line: 2, says: "lacks an input or output price"),
        Refusal(
            table: priceTable("provider model input output tiers", "acme a 1 2 fast:1///2"),
            line: 2, says: "reserved"),
        Refusal(
            table: priceTable(
                "provider model input output tiers", "acme a 1 2 flex:1///2;flex:1///2"),
            line: 2, says: "used twice"),
        Refusal(
            table: priceTable("provider model input output long_input", "acme a 1 2 3"),
            line: 2, says: "long_input without long_above"),
        Refusal(
            table: priceTable("provider model input output long_above", "acme a 1 2 3"),
            line: 2, says: "long_input is empty"),
        Refusal(
            table: priceTable("provider model input output audio_output", "acme a 1 2 3"),
            line: 2, says: "audio_output without audio_input"),
        Refusal(
            table: priceTable("provider model input output fast_multiplier_tenths", "acme a 1 2 9"),
            line: 2, says: "fast_multiplier_tenths"),
        Refusal(
            table: priceTable(
                "provider model input output tiers long_above long_input long_output",
                "acme a 1 2 flex:1000000000000000///2 5 1000000 2"),
            line: 2, says: "too far apart"),
    ])
    func `a malformed line is refused by its number`(refusal: Refusal) {
        check(refusal)
    }

    @Test func `a table without a header or of broken text is refused`() {
        #expect(throws: PriceBookError.noHeader) { try PriceBook(tsv: "# only a comment\n\n") }
        #expect(throws: PriceBookError.notUTF8) { try PriceBook(tsv: [0x61, 0xFF, 0x0A]) }
        let error = PriceBookError.line(7, "input is empty")
        #expect(error.description == "price table, line 7: input is empty")
    }

    @Test func `comments, blank lines and carriage returns are skipped`() throws {
        let table =
            "# note\r\n\r\n"
            + priceTable(Self.header, Self.row)
            .replacing("\n", with: "\r\n") + "\r\n"
        #expect(try PriceBook(tsv: table) == PriceBook(tsv: priceTable(Self.header, Self.row)))
    }

    @Test func `the built-in book survives its own table`() throws {
        let book = PriceBook.builtIn
        #expect(book.models.count > 100)
        let again = try PriceBook(tsv: book.tsv)
        #expect(again == book)
        #expect(again.tsv == book.tsv)
        #expect(try PriceBook(tsv: Array(book.tsv.utf8)) == book)
    }

    @Test func `every column survives`() throws {
        let names = [
            "provider", "model", "aliases", "mode", "from", "certainty", "input", "cache_read",
            "cache_write", "cache_write_long", "output", "context", "max_output", "long_above",
            "long_input", "long_cache_read", "long_cache_write", "long_cache_write_long",
            "long_output", "tiers", "audio_input", "audio_output", "fast_multiplier_tenths",
            "geo_us_multiplier_tenths", "web_search_nano_usd_per_call", "source",
        ].joined(separator: "\t")
        let line =
            "acme\tm\ta,b\tchat\t2026-12-01\tconfirmed\t1\t2\t3\t4\t5\t6\t7\t8\t9\t10\t11\t12"
            + "\t13\tflex:14///15;priority:16/17/18/19\t20\t21\t22\t23\t24\tby hand"
        let table = names + "\n" + line + "\n"
        #expect(try PriceBook(tsv: table).tsv == table)
    }

    private func check(_ refusal: Refusal) {
        do {
            _ = try PriceBook(tsv: refusal.table)
            Issue.record("the table was accepted")
        } catch {
            guard case .line(let number, let problem) = error else {
                Issue.record("another error: \(error)")
                return
            }
            #expect(number == refusal.line)
            #expect(problem.contains(refusal.says), "\(problem)")
        }
    }
}

@Suite struct `Price book` {
    static let today = UnixTime(date: "2026-11-21")

    @Test(arguments: [
        ("openai", "gpt-6-sol", "gpt-6-sol"),
        ("openai", "gpt-5.6", "gpt-5.6-sol"),
        ("openai", "gpt-4o-2024-11-20", "gpt-4o"),
        ("anthropic", "claude-haiku-4-5-20251001", "claude-haiku-4-5"),
    ])
    func `a model is found by its name and its listed aliases`(
        provider: String, asked: String, found: String
    ) throws {
        #expect(try quote(.builtIn, provider, asked)?.model == found)
    }

    @Test(arguments: [
        ("openai", "gpt-6-sol-2026-10-01"), ("openai", "gpt-6"), ("openai", "GPT-6-sol"),
        ("openai", ""), ("anthropic", "gpt-6-sol"), ("unheard-of", "gpt-6-sol"),
        ("cohere", "command-a-plus-05-2026"), ("mistral", "mistral-large-latest"),
    ])
    func `an unlisted, unpriced or moving name has no quote`(
        provider: String, model: String
    ) throws {
        #expect(try quote(.builtIn, provider, model) == nil)
    }

    @Test func `a model is not priced before its first day`() throws {
        let table = priceTable(`Price table`.header, "acme new 2026-12-01 - 1 2 -")
        let book = try PriceBook(tsv: table)
        #expect(try quote(book, "acme", "new") == nil)
        let first = try #require(UnixTime(date: "2026-12-01"))
        #expect(book.quote(provider: "acme", model: "new", from: first, lasting: 0) != nil)
        let before = UnixTime(first.seconds - 1)
        #expect(book.quote(provider: "acme", model: "new", from: before, lasting: 60) == nil)
    }

    @Test func `the operator's rows win, model by model`() throws {
        let base = try PriceBook(
            tsv: priceTable(
                `Price table`.header, "acme a - - 1 2 a-dated,a-old", "acme b - - 3 4 b-dated",
                "acme c - - 5 6 c-dated", "other a - - 7 8 -"))
        let operatorRows = try PriceBook(
            tsv: priceTable(
                `Price table`.header, "acme a - - 11 12 -", "acme mine - - 13 14 a-old,c"))
        let merged = base.overriding(with: operatorRows)
        let inputs = try ["a", "a-dated", "a-old", "b", "b-dated", "c", "mine"].map { name in
            try input(merged, "acme", name)
        }
        #expect(inputs == [11, 11, 13, 3, 3, 13, 13])
        #expect(try quote(merged, "acme", "c-dated") == nil, "its model was replaced")
        #expect(try input(merged, "other", "a") == 7, "another provider's model")
        #expect(try PriceBook(tsv: merged.tsv) == merged)
        #expect(
            try PriceBook.builtIn.overriding(with: PriceBook(tsv: "provider\tmodel\tinput\toutput"))
                == .builtIn)
    }

    @Test func `an override replaces every dated row of its model`() throws {
        let table = priceTable(`Price table`.header, "gemini gemini-4-argon - - 7 8 -")
        let merged = PriceBook.builtIn.overriding(with: try PriceBook(tsv: table))
        let later = try #require(UnixTime(date: "2027-06-01"))
        let found = merged.quote(
            provider: "gemini", model: "gemini-4-argon", from: later, lasting: 60)
        let rates = try #require(found).holdRates(
            promptTokensMax: 1, serviceTier: nil, longCacheWrite: false, fast: false,
            geoUS: false, audio: false, multiplierTenths: 10)
        #expect(rates.input.nanoUSDPerMillionTokens == 7)
    }

    private func quote(_ book: PriceBook, _ provider: String, _ model: String) throws -> PriceQuote?
    {
        let today = try #require(Self.today)
        return book.quote(provider: provider, model: model, from: today, lasting: 600)
    }

    private func input(_ book: PriceBook, _ provider: String, _ model: String) throws -> UInt64 {
        let quote = try #require(try quote(book, provider, model), "\(provider) \(model)")
        return try quote.holdRates(
            promptTokensMax: 1, serviceTier: "default", longCacheWrite: false, fast: false,
            geoUS: false, audio: false, multiplierTenths: 10
        ).input.nanoUSDPerMillionTokens
    }
}
