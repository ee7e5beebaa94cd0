/// Which modules each target may import: DESIGN's diagram, as a table.
///
/// Adding a target? Its row here says which boxes it may know. The pure targets name everything
/// they may import; the others name the Holdfast modules and C, and are free in the rest.
enum Imports {
    struct Rule {
        var holdfast: Set<String> = []
        /// `nil`: any module that is not part of Holdfast and not C.
        var others: Set<String>?
    }

    static let rules: [String: Rule] = [
        "HoldfastCore": Rule(others: []),
        "HoldfastLedger": Rule(holdfast: ["HoldfastCore"], others: []),
        "HoldfastProviders": Rule(holdfast: ["HoldfastCore"], others: []),
        // Bytes are `Data` in what the protobuf generator writes.
        "HoldfastWire": Rule(
            holdfast: ["HoldfastCore"],
            others: ["SwiftProtobuf", "Foundation", "FoundationEssentials"]),
        "HoldfastSimulation": Rule(
            holdfast: ["HoldfastCore", "HoldfastLedger"], others: ["Synchronization"]),
        "HoldfastEgress": Rule(holdfast: ["CCurl"]),
        "HoldfastTransport": Rule(holdfast: ["HoldfastCore", "HoldfastWire"]),
        "HoldfastStore": Rule(holdfast: ["HoldfastCore", "HoldfastLedger", "CPostgres"]),
        "HoldfastTLS": Rule(),
        "HoldfastConfig": Rule(holdfast: ["HoldfastCore", "HoldfastProviders"]),
        "HoldfastAdmin": Rule(),
        "HoldfastCounter": Rule(holdfast: [
            "HoldfastCore", "HoldfastLedger", "HoldfastProviders", "HoldfastStore", "HoldfastWire",
            "HoldfastAdmin", "HoldfastTransport", "HoldfastTLS",
        ]),
        "HoldfastEdge": Rule(holdfast: [
            "HoldfastCore", "HoldfastLedger", "HoldfastProviders", "HoldfastWire",
            "HoldfastEgress", "HoldfastAdmin", "HoldfastTransport", "HoldfastTLS",
        ]),
        "HoldfastTestKit": Rule(holdfast: ["HoldfastCore"]),
        "holdfast": Rule(holdfast: [
            "HoldfastCore", "HoldfastLedger", "HoldfastProviders", "HoldfastWire",
            "HoldfastConfig", "HoldfastStore", "HoldfastCounter", "HoldfastEdge", "HoldfastEgress",
            "HoldfastAdmin", "HoldfastTransport", "HoldfastTLS", "HoldfastTestKit",
            "HoldfastSimulation",
        ]),
        "simulate": Rule(holdfast: ["HoldfastSimulation"]),
    ]

    /// Why the target may not import the module; `nil` when it may.
    static func objection(to module: String, in target: String) -> String? {
        guard let rule = rules[target] else {
            return "the target \(target) has no row in Imports.rules"
        }
        let isOurs =
            module.hasPrefix("Holdfast") || module == "holdfast"
            || ["CCurl", "CPostgres"].contains(module)
        if isOurs ? rule.holdfast.contains(module) : rule.others?.contains(module) ?? true {
            return nil
        }
        return "\(target) must not import \(module)"
    }

    /// The module of a line that is an import, with whatever attributes and access level.
    static func module(in line: String) -> String? {
        let words = line.split(whereSeparator: { $0 == " " || $0 == "." })
        guard let keyword = words.firstIndex(of: "import"), keyword + 1 < words.count,
            words[..<keyword].allSatisfy({ $0.hasPrefix("@") || accessLevels.contains($0) })
        else { return nil }
        let isOneDeclaration = declarationKinds.contains(words[keyword + 1])
        let name = keyword + (isOneDeclaration ? 2 : 1)
        return name < words.count ? String(words[name]) : nil
    }

    private static let accessLevels: Set<Substring> = [
        "private", "fileprivate", "internal", "package", "public",
    ]
    private static let declarationKinds: Set<Substring> = [
        "struct", "class", "enum", "protocol", "typealias", "func", "let", "var",
    ]
}
