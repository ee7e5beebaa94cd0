import ArgumentParser
import Foundation
import Glibc
import HoldfastConfig
import HoldfastCore
import HoldfastCounter
import HoldfastEgress
import HoldfastProviders
import NIOCore

/// What models cost, and where that comes from.
struct PricesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prices",
        abstract: "The prices that requests are held and billed at.",
        discussion: """
            A model without a price is refused. To take over somebody's list of prices:
              holdfast prices sync https://openrouter.ai/api/v1/models --output prices.tsv
            shows what would change, and with --yes changes it.
            """,
        subcommands: [PricesListCommand.self, PricesSyncCommand.self, PricesMissingCommand.self])
}

/// The one place that knows how a configuration comes to its prices: as the counter does.
private enum EffectivePrices {
    /// The built-in book, then the price file, then the overrides.
    ///
    /// - Parameter config: `nil` for the built-in book alone.
    static func book(config: String?) throws -> PriceBook {
        guard let config else { return .builtIn }
        let loaded = try ConfigFile.load(config)
        return try openOrExplain { try PriceBook(tsv: try Node.counterPolicy(loaded).prices) }
    }
}

struct PricesListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "All prices, in dollars per million tokens.",
        discussion: """
            A price that is not known is empty: cached tokens then cost as much as fresh ones.
            Exit code 5 when the configuration cannot be used.
            """)

    @Option(
        name: [.short, .long],
        help: "The configuration file, for its prices; without it the built-in ones.")
    var config: String?

    @Option(help: "Of this provider only.")
    var provider: String?

    func run() async throws {
        var table = TextTable(
            "PROVIDER", "MODEL", "INPUT", "CACHED", "WRITE", "OUTPUT", "FROM", "SOURCE")
        for row in try EffectivePrices.book(config: config).listings
        where provider == nil || provider == row.provider {
            table.add(
                row.provider, row.model, dollars(row.input), dollars(row.cacheRead),
                dollars(row.cacheWrite), dollars(row.output),
                (row.from ?? "") + (row.isConfirmed ? "" : " possible"), row.source)
        }
        table.print()
        if table.isEmpty { Terminal.note("there are no prices of this provider") }
    }

    private func dollars(_ price: TokenPrice?) -> String {
        price.map { NanoUSD($0.nanoUSDPerMillionTokens).dollars } ?? ""
    }
}

struct PricesMissingCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "missing", abstract: "Which of the models that you name have no price.",
        discussion: """
            Reads names like openai/gpt-6-sol, one a line, and prints those that would be refused.
            Exit code 1 when there are any, 5 when the configuration cannot be used.
            """)

    @Option(name: [.short, .long], help: "The configuration file, for its prices.")
    var config = "holdfast.yaml"

    @Option(help: "The names, with commas between them, instead of standard input.")
    var models: String?

    /// A request that starts now and takes this long must have a price, in seconds.
    private static let requestSeconds: Int64 = 600

    func run() async throws {
        let names = try self.names()
        let book = try EffectivePrices.book(config: config)
        let now = UnixTime(Int64(Date().timeIntervalSince1970))
        let missing = names.filter { name in
            book.quote(
                provider: name.provider, model: name.model, from: now,
                lasting: Self.requestSeconds) == nil
        }
        for name in missing {
            Terminal.say(TextTable.printable("\(name.provider)/\(name.model)"))
        }
        guard !missing.isEmpty else {
            Terminal.note("all \(names.count) have a price")
            return
        }
        Terminal.note(
            "\(missing.count) of \(names.count) have no price and are refused: list them under "
                + "'prices' or take them over with 'holdfast prices sync'")
        throw ExitCode(Exit.failure)
    }

    private func names() throws -> [(provider: String, model: String)] {
        var lines: [String] = []
        if let models {
            lines = models.split(separator: ",").map { String($0) }
        } else {
            guard isatty(STDIN_FILENO) == 0 else {
                throw ValidationError("name the models, with --models or on standard input")
            }
            while let line = readLine() { lines.append(line) }
        }
        var names: [(provider: String, model: String)] = []
        for line in lines {
            let text = line.trimmingCharacters(in: .whitespacesAndNewlines)
            if text.isEmpty || text.hasPrefix("#") { continue }
            // Model names have slashes of their own.
            let parts = text.split(separator: "/", maxSplits: 1).map { String($0) }
            guard parts.count == 2 else {
                let shown = TextTable.printable(text)
                throw ValidationError("'\(shown)' is no model: write PROVIDER/MODEL")
            }
            names.append((parts[0], parts[1]))
        }
        guard !names.isEmpty else { throw ValidationError("no model was named") }
        return names
    }
}

struct PricesSyncCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sync", abstract: "Takes over a list of prices, after showing what changes.",
        discussion: """
            SOURCE is LiteLLM's model_prices_and_context_window.json, OpenRouter's /api/v1/models or
            a table like the built-in one. Nothing is written without --yes; what was there before
            is kept beside the file. Prices of providers that SOURCE does not have stay.
            """)

    @Argument(help: "A file, or an http:// or https:// address.")
    var source: String

    @Option(help: "The price file to write, a table.")
    var output: String

    @Option(help: "Prices of this provider only; may be repeated.")
    var provider: [String] = []

    @Flag(help: "Writes the file.")
    var yes = false

    @Flag(help: "Every row that is left out, not only examples.")
    var all = false

    func run() async throws {
        let bytes = try await PriceSource.read(source)
        let (imported, file, old, new) = try openOrExplain {
            let imported = try PriceImport(bytes, providers: provider.isEmpty ? nil : Set(provider))
            let file = PriceFile(path: output)
            let old = try file.read()
            let new = try old?.replacingProviders(of: imported.book) ?? imported.book
            return (imported, file, old, new)
        }
        PriceReport(limit: all ? .max : 5).say(imported)
        // What requests cost: where the file is silent, the built-in price applies.
        let builtIn = PriceBook.builtIn
        let before = old.map { builtIn.overriding(with: $0) } ?? builtIn
        let diff = PriceDiff(from: before, to: builtIn.overriding(with: new))
        PriceReport.say(diff)
        guard old != new else {
            Terminal.note("\(output) has these prices already: nothing to write")
            return
        }
        guard yes else {
            Terminal.note("nothing was written; to write \(output), say it again with --yes")
            return
        }
        let now = UnixTime(Int64(Date().timeIntervalSince1970)).rfc3339
        let comment = "from \(PriceSource.name(source)), \(now)"
        let kept = try openOrExplain { try file.replace(with: new, comment: comment, at: now) }
        if let kept { Terminal.note("the previous prices are kept in \(kept)") }
        Terminal.note("wrote \(output)")
    }
}

/// Where prices are taken from.
private enum PriceSource {
    /// LiteLLM's list has 3.5 MB.
    private static let byteCountMax = 64 << 20

    static func read(_ source: String) async throws -> [UInt8] {
        isAddress(source) ? try await fetch(source) : try file(source)
    }

    /// Without what may be a secret in an address, and fit for one line.
    static func name(_ source: String) -> String {
        guard isAddress(source) else { return TextTable.printable(source) }
        let address = source.prefix { $0 != "?" && $0 != "#" }
        let parts = address.split(separator: "/", maxSplits: 2).map { String($0) }
        guard parts.count > 1, let host = parts[1].split(separator: "@").last else {
            return "the address"
        }
        let path = parts.count > 2 ? "/" + parts[2] : ""
        return TextTable.printable("\(parts[0])//\(host)\(path)")
    }

    private static func isAddress(_ source: String) -> Bool {
        source.hasPrefix("https://") || source.hasPrefix("http://")
    }

    private static func fetch(_ address: String) async throws -> [UInt8] {
        let shown = name(address)
        do {
            let egress = try Egress(threadCount: 1, bufferByteCountMax: byteCountMax)
            defer { egress.shutdown() }
            let request = EgressRequest(
                method: "GET", url: address,
                headers: [("accept", "*/*"), ("user-agent", "holdfast")],
                idleTimeout: .seconds(60), totalTimeout: .seconds(300))
            let response = try await egress.fetch(request, bodyByteCountMax: byteCountMax)
            guard response.status == 200 else {
                // Redirects are not followed: prices come from the address that was given.
                let hint = (300..<400).contains(response.status) ? ": give the final address" : ""
                Terminal.note("error: \(shown) answered \(response.status)\(hint)")
                throw ExitCode(Exit.failure)
            }
            return Array(response.body.readableBytesView)
        } catch let failure as EgressFailure {
            Terminal.note("error: \(shown): \(failure.message)")
            throw ExitCode(Exit.failure)
        }
    }

    private static func file(_ path: String) throws -> [UInt8] {
        do {
            let handle = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
            let data = try handle.read(upToCount: byteCountMax + 1) ?? Data()
            try handle.close()
            if data.count <= byteCountMax { return Array(data) }
            Terminal.note("error: \(path) is larger than \(byteCountMax >> 20) MiB")
        } catch {
            Terminal.note("error: cannot read \(path): \(error.localizedDescription)")
        }
        throw ExitCode(Exit.failure)
    }
}

/// The operator's price file.
private struct PriceFile {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    let path: String

    /// `nil` when there is none yet.
    func read() throws -> PriceBook? {
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        do {
            return try PriceBook(tsv: Array(try Data(contentsOf: URL(fileURLWithPath: path))))
        } catch let error as PriceBookError {
            throw Failure(description: "\(path): \(error); mend it or move it away")
        } catch {
            throw Failure(description: "cannot read \(path): \(error.localizedDescription)")
        }
    }

    /// At no moment is there no file or half a file.
    ///
    /// - Parameter time: RFC 3339, for the name of what was there before.
    /// - Returns: that name.
    func replace(with book: PriceBook, comment: String, at time: String) throws -> String? {
        let text = "# Prices \(comment)\n# Written by 'holdfast prices sync'.\n\(book.tsv)"
        let temporary = path + ".tmp"
        let stamp = time.filter { $0 != "-" && $0 != ":" }
        let previous = FileManager.default.fileExists(atPath: path) ? "\(path).\(stamp)" : nil
        do {
            try Data(text.utf8).write(to: URL(fileURLWithPath: temporary))
            if let previous {
                try FileManager.default.copyItem(atPath: path, toPath: previous)
            }
        } catch {
            throw Failure(description: "cannot write \(path): \(error.localizedDescription)")
        }
        guard rename(temporary, path) == 0 else {
            throw Failure(description: "cannot write \(path): \(String(cString: strerror(errno)))")
        }
        return previous
    }
}

/// What an import found and what it changes, for people.
private struct PriceReport {
    /// Examples of one reason.
    let limit: Int

    func say(_ imported: PriceImport) {
        let count = imported.book.models.count
        Terminal.note("\(imported.format.rawValue) prices: \(count) models")
        note("warning: left out", Dictionary(grouping: imported.leftOut, by: \.reason))
        if !imported.rounded.isEmpty {
            let names = examples(imported.rounded)
            Terminal.note(
                "rounded up to whole nano-dollars per million tokens: "
                    + "\(imported.rounded.count): \(names)")
        }
        for note in imported.notes { Terminal.note(TextTable.printable("note: \(note)")) }
    }

    private func note(_ title: String, _ reasons: [String: [PriceImport.LeftOut]]) {
        let sorted = reasons.sorted { ($1.value.count, $0.key) < ($0.value.count, $1.key) }
        for (reason, rows) in sorted {
            let names = examples(rows.map(\.name))
            Terminal.note(TextTable.printable("\(title): \(rows.count), \(reason): ") + names)
        }
    }

    private func examples(_ names: [String]) -> String {
        let shown = names.prefix(limit).map { TextTable.printable($0) }.joined(separator: ", ")
        return names.count > limit ? "\(shown), … (--all shows them)" : shown
    }

    // MARK: - Changes

    static func say(_ diff: PriceDiff) {
        for item in diff.added { Terminal.say("new      \(text(item)): \(prices(item))") }
        for change in diff.changed {
            let buckets = change.buckets.map { text($0) }.joined(separator: ", ")
            Terminal.say("changed  \(text(change.item)): \(buckets)")
        }
        for item in diff.removed { Terminal.say("gone     \(text(item)): was \(prices(item))") }
        Terminal.note(
            "\(diff.added.count) new, \(diff.changed.count) changed, \(diff.removed.count) gone")
        if !diff.removed.isEmpty {
            Terminal.note("warning: models of which every price is gone will be refused")
        }
    }

    private static func text(_ item: PriceDiff.Item) -> String {
        let from = item.from.map { " from \($0)" } ?? ""
        return TextTable.printable(
            "\(item.provider)/\(item.name)\(from)\(item.isConfirmed ? "" : " (possible)")")
    }

    private static func prices(_ item: PriceDiff.Item) -> String {
        let perToken = PriceDiff.Unit.nanoUSDPerMillionTokens
        let input = text(item.input.nanoUSDPerMillionTokens, perToken)
        return "input \(input), output \(text(item.output.nanoUSDPerMillionTokens, perToken))"
    }

    private static func text(_ bucket: PriceDiff.Bucket) -> String {
        let percent = bucket.thousandths.map { thousandths in
            let size = thousandths.magnitude
            let sign = thousandths < 0 ? "-" : "+"
            return " (\(sign)\(size / 10).\(size % 10) %)"
        }
        return "\(bucket.name) \(text(bucket.old, bucket.unit)) → "
            + "\(text(bucket.new, bucket.unit))\(percent ?? "")"
    }

    private static func text(_ value: UInt64?, _ unit: PriceDiff.Unit) -> String {
        guard let value else { return "unknown" }
        switch unit {
        case .nanoUSDPerMillionTokens: return "$\(NanoUSD(value).dollars)"
        case .nanoUSDPerCall: return "$\(NanoUSD(value).dollars) a call"
        case .tokens: return "\(value)"
        case .tenths: return "\(value / 10).\(value % 10)"
        }
    }
}
