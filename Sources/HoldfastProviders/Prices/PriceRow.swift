internal import HoldfastCore

/// The prices of one model from one day on.
struct PriceRow: Hashable, Sendable {
    enum Certainty: String, Sendable {
        case confirmed
        /// Reported, not announced: applies beside the confirmed prices where it is dearer.
        case possible
    }

    struct Listed: Hashable, Sendable {
        struct Tier: Hashable, Sendable {
            let name: String
            let rates: ListedRates
        }

        struct Long: Hashable, Sendable {
            /// The long rates apply to the whole request when its prompt has more tokens than this.
            let above: UInt64
            let rates: ListedRates
        }

        var mode: String
        var from: UnixTime?
        var certainty: Certainty
        var standard: ListedRates
        var long: Long?
        var tiers: [Tier]
        var audioInput: TokenPrice?
        var audioOutput: TokenPrice?
        var contextTokens: UInt64?
        var maxOutputTokens: UInt64?
        var fastMultiplierTenths: UInt64?
        var geoUSMultiplierTenths: UInt64?
        /// Per call.
        var webSearch: NanoUSD?
        var source: String
    }

    let listed: Listed
    let standard: Tariff
    let tiers: [Tariff]

    /// `nil` when a price that follows from the listed ones is out of range.
    init?(_ listed: Listed) {
        let builder = TariffBuilder(
            standard: listed.standard, long: listed.long?.rates, audioInput: listed.audioInput,
            audioOutput: listed.audioOutput)
        guard let standard = builder.tariff(named: nil, listed: listed.standard) else {
            return nil
        }
        var tiers: [Tariff] = []
        for tier in listed.tiers {
            guard let tariff = builder.tariff(named: tier.name, listed: tier.rates) else {
                return nil
            }
            tiers.append(tariff)
        }
        self.listed = listed
        self.standard = standard
        self.tiers = tiers
    }

    func starts(by time: UnixTime) -> Bool {
        guard let from = listed.from else { return true }
        return from <= time
    }
}

/// Which tariffs of a row a service tier's name can stand for.
extension PriceRow {
    /// Names that no row may give to a tier of its own.
    static let reservedTierNames: Set<String> = [
        "auto", "default", "standard", "standard_only", "fast",
    ]

    /// Every tariff that a request can be billed at. `nil` when it asks for one without a price.
    ///
    /// The standard tariff is always among them: a tier that is out of capacity falls back to it,
    /// and the bill is for the tier that served.
    func tariffs(requesting tier: String?, defaultMayBePriority: Bool) -> [Tariff]? {
        switch tier.map(PriceRow.canonicalTier) {
        case nil, "auto":
            guard defaultMayBePriority, let priority = tariff("priority") else {
                return [standard]
            }
            return [standard, priority]
        case "default", "standard", "standard_only":
            return [standard]
        case "flex":
            // A discount: where the row has no price for it, standard is the dearer side.
            return [standard] + (tariff("flex").map { [$0] } ?? [])
        case let name?:
            return tariff(name).map { [standard, $0] }
        }
    }

    /// Every tariff that a response can have been billed at, given the tier that it names.
    func tariffs(
        serving tier: String?, requested: String?, defaultMayBePriority: Bool
    ) -> [Tariff] {
        switch tier.map(PriceRow.canonicalTier) {
        case nil:
            let possible = tariffs(
                requesting: requested, defaultMayBePriority: defaultMayBePriority)
            return possible ?? [standard] + tiers
        case "default", "standard", "standard_only":
            return [standard]
        case "flex":
            return [tariff("flex") ?? standard]
        case let name?:
            return tariff(name).map { [$0] } ?? [standard] + tiers
        }
    }

    private func tariff(_ name: String) -> Tariff? { tiers.first { $0.name == name } }

    /// OpenAI sells one tier under two names.
    private static func canonicalTier(_ name: String) -> String {
        let lowercased = name.lowercased()
        return lowercased == "fast" ? "priority" : lowercased
    }
}
