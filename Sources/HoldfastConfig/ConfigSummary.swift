import HoldfastCore

extension Config {
    /// What the file was understood to say, as an aligned table for people; the last line is `ok`.
    /// Contains no secret.
    public func summary() -> [String] {
        var lines = table(
            [
                ["node", nodeName ?? "the host's name"],
                ["listen", listen.description],
                ["admin", adminListen.description],
                ["operators", adminToken == nil ? "" : "token set: they may change accounts"],
                ["tls", tls.map { "callers: \($0.certificate)" } ?? ""],
                ["cluster", cluster],
                ["store", store.description],
                ["counter", counterListen?.description ?? ""],
                ["reached at", counterAdvertise?.description ?? ""],
                ["edge quota", edgeQuotaText],
                [
                    "node tls",
                    nodeTLS?.certificate ?? (allowsPlaintextNodes ? "off: plain text" : ""),
                ],
                ["journal", journal ?? ""],
                ["counters", counters.map(\.description).joined(separator: ", ")],
            ].filter { !$0[1].isEmpty })
        lines += section("providers", providerRows)
        lines += section("keys", keyRows)
        lines += section("caps", capRows)
        lines += section("prices", priceRows)
        lines += section("limits", limitRows)
        return lines + ["ok"]
    }

    private var edgeQuotaText: String {
        guard counterListen != nil else { return "" }
        let slice = edgeQuota.slicePercentMax
        let share = slice == 100 ? "" : "at most \(slice)% of a cap, "
        return "\(share)\(edgeQuota.accountCountMax) accounts"
    }

    private var providerRows: [[String]] {
        providers.sorted { $0.key < $1.key }.map { name, settings in
            var extras: [String] = []
            if let type = settings.type { extras.append("type \(type)") }
            if !settings.models.isEmpty { extras.append("\(settings.models.count) model names") }
            if let tier = settings.serviceTier { extras.append("service tier \(tier)") }
            if let timeout = settings.connectTimeout { extras.append("connect \(timeout.brief)") }
            if let timeout = settings.idleTimeout { extras.append("idle \(timeout.brief)") }
            return [
                name, settings.baseURL ?? "its own address",
                settings.apiKey == nil ? "no key: callers bring theirs" : "key set",
                extras.joined(separator: ", "),
            ]
        }
    }

    private var keyRows: [[String]] {
        keys.map { key in
            let fixed = ScopeDimension.allCases.compactMap { dimension in
                key.policy.fixed[dimension].map { "\(dimension.name)=\($0)" }
            }
            let allowed = ScopeDimension.allCases.filter(key.policy.callerSettable.contains)
            return [
                key.policy.name, fixed.isEmpty ? "no fixed scope" : fixed.joined(separator: ", "),
                allowed.isEmpty
                    ? "callers set nothing"
                    : "callers may set " + allowed.map(\.name).joined(separator: ", "),
            ]
        }
    }

    private var capRows: [[String]] {
        caps.map { cap in
            let period = cap.period == .total ? "in total" : "per \(cap.period.name) (\(cap.zone))"
            return [
                cap.name, "\(cap.limit.formatted(cap.unit)) \(period)", cap.scopeDescription,
                cap.mode.name, cap.fallback.map { "else \($0)" } ?? "",
            ]
        }
    }

    private var priceRows: [[String]] {
        priceOverrides.map { price in
            var parts = ["input \(price.input.text)", "output \(price.output.text)"]
            if let read = price.cacheRead { parts.append("cache read \(read.text)") }
            if let write = price.cacheWrite { parts.append("cache write \(write.text)") }
            return [
                price.provider, price.model,
                parts.joined(separator: ", ") + " per million tokens",
            ]
        }
    }

    private var limitRows: [[String]] {
        var rows = [
            ["request body", byteCountText(limits.bodyByteCountMax)],
            ["request head", byteCountText(limits.headerByteCountMax)],
            ["stream buffer", byteCountText(limits.streamBufferByteCountMax)],
            ["new accounts", "\(limits.newAccountsPerMinuteMax) per minute"],
            ["wait for budget", limits.wait.brief],
            ["drain", limits.drain.brief],
            [
                "clamp",
                limits.clamps ? "to \(limits.clampMinimumTokens) tokens at the least" : "no",
            ],
        ]
        for dimension in ScopeDimension.allCases {
            guard let header = limits.scopeHeaders[dimension] else { continue }
            rows.append(["\(dimension.name) from", header])
        }
        return rows
    }
}

private func section(_ title: String, _ rows: [[String]]) -> [String] {
    rows.isEmpty ? ["\(title): none"] : ["\(title):"] + table(rows).map { "  " + $0 }
}

/// Columns two spaces apart, without spaces at the end of a line.
private func table(_ rows: [[String]]) -> [String] {
    var widths: [Int] = []
    for row in rows {
        for (column, cell) in row.enumerated() {
            if column == widths.count { widths.append(0) }
            widths[column] = max(widths[column], cell.count)
        }
    }
    return rows.map { row in
        var line = ""
        for (cell, width) in zip(row, widths) {
            line += cell + String(repeating: " ", count: width - cell.count + 2)
        }
        while line.last == " " { line.removeLast() }
        return line
    }
}

extension TokenPrice {
    fileprivate var text: String { Amount(nanoUSDPerMillionTokens).formatted(.usd) }
}

/// `64KiB`, as the file writes it.
func byteCountText(_ count: Int) -> String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")]
    where count >= 1 << shift && count.isMultiple(of: 1 << shift) {
        return "\(count >> shift)\(unit)"
    }
    return "\(count)B"
}

extension Duration {
    /// `250ms`, `2s`, `5m`, as the file writes it.
    var brief: String {
        let (seconds, attoseconds) = components
        guard attoseconds == 0 else {
            return "\(seconds * 1_000 + attoseconds / 1_000_000_000_000_000)ms"
        }
        if seconds > 0, seconds.isMultiple(of: 3_600) { return "\(seconds / 3_600)h" }
        if seconds > 0, seconds.isMultiple(of: 60) { return "\(seconds / 60)m" }
        return "\(seconds)s"
    }
}
