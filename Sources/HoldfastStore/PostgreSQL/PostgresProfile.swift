import HoldfastLedger

/// How a server is set up to keep what it acknowledges.
///
/// PostgreSQL can be set up so that a commit is acknowledged and lost all the same: by a crash, or by
/// a failover to a standby that did not have it. Budget would then be granted twice.
struct PostgresProfile: Equatable {
    var settings: [String: String]

    private static let settingNames = [
        "synchronous_commit", "synchronous_standby_names", "fsync", "full_page_writes",
        "server_version_num",
    ]
    /// The oldest that is still maintained.
    private static let versionMin = 140_000

    /// As the server, its database and role are set up: our own session has not changed anything yet.
    static func read(
        _ connection: PostgresConnection
    ) throws(PostgresConnection.Failure) -> PostgresProfile {
        let list = settingNames.map { "'\($0)'" }.joined(separator: ", ")
        let rows = try connection.query(
            "SELECT name, setting FROM pg_settings WHERE name IN (\(list))")
        var profile = PostgresProfile(settings: [:])
        for row in 0..<rows.count {
            guard let name = rows.text(row, 0), let value = rows.text(row, 1) else { continue }
            profile.settings[name] = value
        }
        return profile
    }

    /// Each a sentence of what is wrong and one of what to do; empty when acknowledged means kept.
    var dangers: [String] {
        var dangers: [String] = []
        if !["on", "remote_apply"].contains(self["synchronous_commit"]) {
            dangers.append(
                "synchronous_commit is \(self["synchronous_commit"]): commits are acknowledged "
                    + "before they are safe. Set it to on for this server, database and role.")
        }
        if self["synchronous_standby_names"].isEmpty {
            dangers.append(
                "synchronous_standby_names is empty: a failover can lose what was acknowledged. "
                    + "Name a standby, such as 'ANY 1 (pg_2, pg_3)'; with Patroni set "
                    + "synchronous_mode: quorum and synchronous_mode_strict.")
        }
        if self["fsync"] != "on" {
            dangers.append("fsync is off: a crash can lose or damage everything. Turn it on.")
        }
        if self["full_page_writes"] != "on" {
            dangers.append(
                "full_page_writes is off: a crash can damage pages. Turn it on.")
        }
        return dangers
    }

    /// Why this server cannot be used at all.
    var obstacle: String? {
        guard let version = Int(self["server_version_num"]), version < Self.versionMin else {
            return nil
        }
        return "PostgreSQL \(version / 10_000) is too old. Use version "
            + "\(Self.versionMin / 10_000) or later."
    }

    private subscript(name: String) -> String { settings[name] ?? "unknown" }
}
