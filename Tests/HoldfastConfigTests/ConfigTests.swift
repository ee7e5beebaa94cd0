import HoldfastConfig
import HoldfastCore
import Testing

@Suite struct `Configuration` {
    private let everything = """
        name: node-1
        listen: 127.0.0.1:9090
        admin: { listen: "[::1]:9091", token: "${TOKEN}" }
        store: sqlite:/var/lib/holdfast/holdfast.db
        counter:
          { listen: 127.0.0.1:7070, advertise: counter-1.internal:7070, edge_slice: 25%,
            edge_accounts: 5000 }
        counters: [127.0.0.1:7070, counter-2.internal:7070]
        journal: /var/lib/holdfast/edge.journal
        cluster: production
        tls: { certificate: edge.pem, key: edge.key }
        node_tls: { authority: ca.crt, certificate: node-1.crt, key: node-1.key }
        providers:
          openai:    { api_key: "${OPENAI_API_KEY}", service_tier: default }
          anthropic:
            api_key: ${ANTHROPIC_API_KEY}
            base_url: https://gateway.example.com:8443/anthropic/
            connect_timeout: 250ms
            idle_timeout: 5m
          mistral:
        keys:
          - { name: support, secret: "${SUPPORT_KEY}", tenant: acme, workload: support-bot,
              allow: [user, session] }
          - { name: batch, secret: "${file:/run/secrets/batch}", allow: tenant }
        caps:
          - { name: acme-daily, limit: $500, per: day, scope: { tenant: acme } }
          - { name: each-user, limit: $3, per: day, each: user, mode: observe }
          - name: bot-tokens
            limit: 1.5M tokens
            per: month
            scope: { workload: support-bot }
            each: [user, model]
            timezone: Europe/Tallinn
          - { name: all, limit: "$1,000.50", per: total, scope: global, mode: enforce,
              on_exceed: { fallback: mistral/small } }
        prices:
          - { provider: openai, model: gpt-x, input: $0.10, output: 0.4, cache_read: $0.0375,
              cache_write: $1, context: 128k tokens, max_output: "16,384" }
        limits:
          body: 16MiB
          header: 32KiB
          new_accounts_per_minute: 60
          wait: 500ms
          drain: 1m
          stream_buffer: 4MiB
          clamp: false
          clamp_minimum: 32 tokens
          header_scope: { tenant: X-Tenant-Id }

        """

    /// Half a file is an accident that happens; it must be a file or a mistake, never a crash.
    @Test func `a file cut anywhere is understood or refused with a reason`() throws {
        let bytes = Array(everything.utf8)
        var refusedCount = 0
        for count in stride(from: 0, to: bytes.count, by: 3) {
            let text = String(decoding: bytes.prefix(count), as: UTF8.self)
            let lineCount = text.split(separator: "\n", omittingEmptySubsequences: false).count
            do {
                _ = try read(text, files: ["/run/secrets/batch": "hf-0Zx9yWvUt"])
            } catch {
                refusedCount += 1
                #expect(error.problems.allSatisfy { (1...lineCount + 1).contains($0.line) })
                #expect(error.problems.allSatisfy { $0.column >= 1 })
            }
        }
        #expect(refusedCount > 100)
    }

    private func config() throws -> Config {
        try read(everything, files: ["/run/secrets/batch": "hf-0Zx9yWvUt\r\n"])
    }

    @Test func `a complete file is understood`() throws {
        let config = try config()
        #expect(config.nodeName == "node-1")
        #expect(config.listen == Address(host: "127.0.0.1", port: 9_090))
        #expect(config.adminListen == Address(host: "::1", port: 9_091))
        #expect(config.adminListen.description == "[::1]:9091")
        #expect(config.adminToken?.value == "p4ssPHRASE-42")
        #expect(config.store == .sqlite("/var/lib/holdfast/holdfast.db"))
        #expect(config.journal == "/var/lib/holdfast/edge.journal")
        #expect(config.counterListen == Address(host: "127.0.0.1", port: 7_070))
        #expect(
            config.counters.map(\.description) == ["127.0.0.1:7070", "counter-2.internal:7070"])
        #expect(config.warnings == [])
        #expect(config.requireServe() == [])
        #expect(config.requireEdge() == [])
        #expect(config.requireCounter() == [])
    }

    @Test func `providers have their keys from the environment`() throws {
        let providers = try config().providers
        #expect(providers.keys.sorted() == ["anthropic", "mistral", "openai"])
        let openai = try #require(providers["openai"])
        #expect(openai.apiKey?.value == testEnvironment["OPENAI_API_KEY"])
        #expect(openai.serviceTier == "default")
        #expect(openai.baseURL == nil)
        let anthropic = try #require(providers["anthropic"])
        #expect(anthropic.apiKey?.value == testEnvironment["ANTHROPIC_API_KEY"])
        #expect(anthropic.baseURL == "https://gateway.example.com:8443/anthropic")
        #expect(anthropic.connectTimeout == .milliseconds(250))
        #expect(anthropic.idleTimeout == .seconds(300))
        #expect(try #require(providers["mistral"]).apiKey == nil)
    }

    @Test func `keys have a policy and a secret`() throws {
        let keys = try config().keys
        #expect(
            keys.map(\.policy) == [
                KeyPolicy(
                    name: "support", fixed: [.tenant: "acme", .workload: "support-bot"],
                    callerSettable: [.user, .session]),
                KeyPolicy(name: "batch", callerSettable: [.tenant]),
            ])
        #expect(keys.map(\.secret.value) == ["hf-4Tn8sBcG1hQe", "hf-0Zx9yWvUt"])
    }

    @Test func `caps are exact`() throws {
        #expect(
            try config().caps == [
                Cap(
                    name: "acme-daily", unit: .usd, limit: Amount(500_000_000_000), period: .day,
                    scope: [.tenant: "acme"]),
                Cap(
                    name: "each-user", unit: .usd, limit: Amount(3_000_000_000), period: .day,
                    each: [.user], mode: .observe),
                Cap(
                    name: "bot-tokens", unit: .tokens, limit: Amount(1_500_000), period: .month,
                    zone: "Europe/Tallinn", scope: [.workload: "support-bot"],
                    each: [.user, .model]),
                Cap(
                    name: "all", unit: .usd, limit: Amount(1_000_500_000_000), period: .total,
                    fallback: "mistral/small"),
            ])
    }

    @Test func `prices are nano-dollars per million tokens`() throws {
        func price(_ nanos: UInt64) -> TokenPrice { TokenPrice(nanoUSDPerMillionTokens: nanos) }
        #expect(
            try config().priceOverrides == [
                PriceOverride(
                    provider: "openai", model: "gpt-x", input: price(100_000_000),
                    output: price(400_000_000), cacheRead: price(37_500_000),
                    cacheWrite: price(1_000_000_000), contextTokens: 128_000,
                    outputTokensMax: 16_384)
            ])
    }

    @Test func `limits replace their defaults one by one`() throws {
        var expected = EdgeLimits()
        #expect(try read("caps:\n").limits == expected)
        expected.wait = .milliseconds(500)
        #expect(try read("limits: { wait: 500ms }").limits == expected)
        expected.bodyByteCountMax = 16 << 20
        expected.headerByteCountMax = 32 << 10
        expected.newAccountsPerMinuteMax = 60
        expected.drain = .seconds(60)
        expected.streamBufferByteCountMax = 4 << 20
        expected.clamps = false
        expected.clampMinimumTokens = 32
        expected.scopeHeaders = [.tenant: "x-tenant-id"]
        #expect(try config().limits == expected)
    }

    @Test func `a short file has defaults for the rest`() throws {
        let config = try read("providers: { openai: { api_key: \"${OPENAI_API_KEY}\" } }\ncaps: []")
        #expect(config.listen.description == "127.0.0.1:8080")
        #expect(config.adminListen.description == "127.0.0.1:8081")
        #expect(config.adminToken == nil)
        #expect(config.store == .sqlite("holdfast.db"))
        #expect(config.counterListen == nil)
        #expect(config.nodeName == nil)
        #expect(config.requireServe() == [])
    }

    @Test func `each command says what it needs`() throws {
        let config = try read("caps: []")
        #expect(
            config.requireServe().map(\.description) == [
                "holdfast.yaml: 'holdfast serve' needs at least one of 'providers'; "
                    + "add providers: { openai: { api_key: \"${OPENAI_API_KEY}\" } }"
            ])
        #expect(
            config.requireEdge().map(\.message) == [
                "'holdfast edge' needs at least one of 'providers'",
                "'holdfast edge' needs 'counters', the counter nodes",
            ])
        #expect(
            config.requireCounter().map(\.message) == [
                "'holdfast counter' needs 'counter', where edges connect to it"
            ])
    }

    @Test func `the summary says what was understood`() throws {
        let summary = try config().summary()
        let cells = summary.map { $0.replacing(/(\S)  +/) { "\($0.output.1) | " } }
        #expect(
            cells == [
                "node | node-1",
                "listen | 127.0.0.1:9090",
                "admin | [::1]:9091",
                "operators | token set: they may change accounts",
                "tls | callers: edge.pem",
                "cluster | production",
                "store | sqlite:/var/lib/holdfast/holdfast.db",
                "counter | 127.0.0.1:7070",
                "reached at | counter-1.internal:7070",
                "edge quota | at most 25% of a cap, 5000 accounts",
                "node tls | node-1.crt",
                "journal | /var/lib/holdfast/edge.journal",
                "counters | 127.0.0.1:7070, counter-2.internal:7070",
                "providers:",
                "  anthropic | https://gateway.example.com:8443/anthropic | key set"
                    + " | connect 250ms, idle 5m",
                "  mistral | its own address | no key: callers bring theirs",
                "  openai | its own address | key set | service tier default",
                "keys:",
                "  support | workload=support-bot, tenant=acme | callers may set user, session",
                "  batch | no fixed scope | callers may set tenant",
                "caps:",
                "  acme-daily | $500.00 per day (UTC) | tenant=acme | enforce",
                "  each-user | $3.00 per day (UTC) | each user | observe",
                "  bot-tokens | 1,500,000 tokens per month (Europe/Tallinn)"
                    + " | workload=support-bot, each user, each model | enforce",
                "  all | $1000.50 in total | global | enforce | else mistral/small",
                "prices:",
                "  openai | gpt-x | input $0.10, output $0.40, cache read $0.0375, "
                    + "cache write $1.00 per million tokens",
                "limits:",
                "  request body | 16MiB",
                "  request head | 32KiB",
                "  stream buffer | 4MiB",
                "  new accounts | 60 per minute",
                "  wait for budget | 500ms",
                "  drain | 1m",
                "  clamp | no",
                "  tenant from | x-tenant-id",
                "ok",
            ])
    }

    @Test func `the summary's columns are aligned`() throws {
        let caps = try config().summary().filter { $0.contains(" per day ") }
        #expect(
            caps == [
                "  acme-daily  $500.00 per day (UTC)                        tenant=acme"
                    + "                                  enforce",
                "  each-user   $3.00 per day (UTC)                          each user"
                    + "                                    observe",
            ])
    }

    @Test func `the summary of an empty configuration says so`() throws {
        let summary = try read("caps: []").summary()
        #expect(summary.contains("providers: none"))
        #expect(summary.contains("caps: none"))
        #expect(summary.first == "node     the host's name")
        #expect(summary.last == "ok")
    }

    @Test func `no secret is printed, however the configuration is printed`() throws {
        let config = try config()
        var printed = config.summary().joined() + "\(config)" + String(reflecting: config)
        dump(config, to: &printed)
        for secret in config.keys.map(\.secret) + config.providers.values.compactMap(\.apiKey) {
            #expect(!printed.contains(secret.value))
            #expect("\(secret)" == "‹redacted›")
            #expect(String(reflecting: secret) == "‹redacted›")
        }
        #expect(printed.contains("‹redacted›"))
    }
}
