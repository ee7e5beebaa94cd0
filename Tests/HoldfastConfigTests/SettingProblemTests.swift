import HoldfastConfig
import HoldfastCore
import Testing

@Suite struct `Substitution in a configuration` {
    private func tenant(
        _ text: String, environment: [String: String] = testEnvironment,
        files: [String: String] = [:]
    ) throws -> String? {
        let file = "caps: [{ name: c, limit: $1, per: day, scope: { tenant: \"\(text)\" } }]"
        return try read(file, environment: environment, files: files).caps[0].scope[.tenant]
    }

    @Test(arguments: [
        ("plain", "plain"), ("${TOKEN}", "p4ssPHRASE-42"), ("a-${TOKEN}-b", "a-p4ssPHRASE-42-b"),
        ("${LIMIT}${LIMIT}", "$500$500"), ("${UNSET:-fallback}", "fallback"),
        ("${EMPTY:-fallback}", "fallback"), ("${TOKEN:-unused}", "p4ssPHRASE-42"),
        ("${UNSET:-a:-b c}", "a:-b c"), ("$5", "$5"), ("$", "$"), ("a$", "a$"),
        ("$TOKEN", "$TOKEN"),
        ("$$", "$"), ("$$$$", "$$"), ("$${TOKEN}", "${TOKEN}"), ("$$${LIMIT}", "$$500"),
        ("${file:/f}", "from a file"), ("}", "}"),
    ])
    func `a text is expanded once`(text: String, expanded: String) throws {
        #expect(try tenant(text, files: ["/f": "from a file\r\n\n"]) == expanded)
    }

    @Test func `a value is not expanded again`() throws {
        #expect(try tenant("${A}", environment: ["A": "${B}$$"]) == "${B}$$")
    }

    @Test(arguments: [
        ("${UNSET}", "needs the environment variable 'UNSET', which is not set"),
        ("${EMPTY}", "needs the environment variable 'EMPTY', which is empty"),
        (
            "${TOKN}",
            "needs the environment variable 'TOKN', which is not set; did you mean 'TOKEN'?"
        ),
        ("${TOKEN", "has a '${' without '}'; write '$${' for the text"),
        (
            "${}",
            "has a substitution that cannot be read; write ${VAR}, ${VAR:-default} or "
                + "${file:PATH}"
        ),
        (
            "${1A}",
            "has a substitution that cannot be read; write ${VAR}, ${VAR:-default} or "
                + "${file:PATH}"
        ),
        (
            "${TOKEN:?message}",
            "has a substitution that cannot be read; write ${VAR}, ${VAR:-default} or ${file:PATH}"
        ),
        ("${file:}", "has a '${file:}' without a path"),
        ("${file:/none}", "needs the file '/none', which cannot be read: there is no such file"),
    ])
    func `what cannot be expanded is a mistake at its line`(text: String, reason: String) {
        expectProblems("listen: 127.0.0.1:80\nname: \"\(text)\"\n", ["2:7: 'name' \(reason)"])
    }

    @Test func `an empty default leaves an empty value, which is a mistake`() {
        expectProblems("name: \"${UNSET:-}\"\n", ["1:7: 'name' is empty"])
    }

    @Test func `a limit can come from the environment`() throws {
        let config = try read(cap("name: c, limit: \"${LIMIT}\", per: day"))
        #expect(config.caps[0].limit.rawValue == 500_000_000_000)
    }

    @Test func `a substituted value is not quoted in a message`() {
        expectProblems(
            "listen: \"${TOKEN}\"\nstore: \"x${TOKEN}\"\n",
            [
                "1:9: 'listen': '${TOKEN}' has no port; "
                    + "write it as 127.0.0.1:8080 or \"[::1]:8080\"",
                "2:8: 'store' does not say which kind of store; "
                    + "write it as sqlite:holdfast.db or postgres://user@host/database",
            ])
    }
}

@Suite struct `Secrets in a configuration` {
    private func check(
        _ secret: String, problem: String? = nil, warning: String? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let file = """
            keys: [{ name: a, secret: "\(secret)" }]
            caps: [{ name: c, limit: $1, per: day }]
            """
        if let problem {
            expectProblems(file, ["1:27: 'secret' \(problem)"], sourceLocation: sourceLocation)
        } else {
            try expectWarnings(
                file, warning.map { ["1:27: 'secret' \($0)"] } ?? [],
                sourceLocation: sourceLocation)
        }
    }

    @Test func `a good secret is accepted in silence`() throws {
        try check("hf-4Tn8sBcG1hQe")
        try check("my-secret-password-of-2026")
    }

    @Test func `an empty secret is refused`() throws {
        try check("", problem: "is empty")
        try check(
            "${file:/none}",
            problem:
                "needs the file '/none', which cannot be read: there is no such file")
    }

    @Test func `a secret that cannot be a header is refused, without quoting it`() throws {
        let reason =
            "has a character that cannot be sent: only visible ASCII without spaces can"
        try check("abcd efgh ijkl", problem: reason)
        try check("abcdefgh\\r\\nX-Evil: 1", problem: reason)
        try check("pässwörter-42", problem: reason)
    }

    @Test(arguments: ["a", "1234567"])
    func `a short secret is pointed out`(secret: String) throws {
        try check(secret, warning: "is shorter than 8 characters and can be guessed")
    }

    @Test(arguments: [
        "changeme", "Change-Me-Please", "sk-xxxxxxxx", "<api-key>", "your_api_key", "password",
        "aaaaaaaaaa", "12345678",
    ])
    func `a placeholder is pointed out`(secret: String) throws {
        try check(secret, warning: "looks like a placeholder, not like a secret")
    }

    @Test func `the operators' token opens nothing else`() throws {
        let alone = try read("caps: []\nadmin: { token: \"${TOKEN}\" }")
        #expect(alone.adminToken?.value == "p4ssPHRASE-42")
        #expect(alone.adminListen.description == "127.0.0.1:8081")
        #expect(!"\(alone)".contains("p4ss"))
        #expect(!alone.summary().joined().contains("p4ss"))
        expectProblems("admin: {}", ["1:8: 'admin' needs 'listen'"])
        expectProblems("admin: { token: \"\" }", ["1:17: 'token' is empty"])
        expectProblems(
            """
            admin: { token: "${TOKEN}" }
            providers:
              openai: { api_key: "${TOKEN}" }
            keys:
              - { name: a, secret: "${SUPPORT_KEY}" }
            """, ["3:22: 'admin.token' is the 'api_key' of 'openai'"])
        expectProblems(
            """
            admin: { token: "${TOKEN}" }
            keys:
              - { name: a, secret: "${SUPPORT_KEY}" }
              - { name: b, secret: "${TOKEN}" }
            """,
            [
                "4:24: the key 'b' has 'admin.token' as its secret: its callers could change the "
                    + "accounts"
            ])
    }

    @Test func `one secret stands for one thing`() {
        expectProblems(
            """
            providers:
              openai: { api_key: "${TOKEN}" }
            keys:
              - { name: a, secret: "${SUPPORT_KEY}" }
              - { name: b, secret: "${SUPPORT_KEY}" }
              - { name: c, secret: "${TOKEN}" }
            """,
            [
                "2:22: the key 'c' has the 'api_key' of 'openai' as its secret: "
                    + "whoever has it can go around every cap",
                "5:24: the keys 'a' and 'b' have the same secret",
            ])
    }

    @Test func `callers can set only what is theirs`() throws {
        expectProblems(
            "keys: [{ name: a, secret: \"${TOKEN}\", allow: [user, model] }]",
            [
                "1:46: 'allow' has 'model', which callers cannot set; "
                    + "they can set workload, tenant, user, team, session"
            ])
        try expectWarnings(
            "keys: [{ name: a, secret: \"${TOKEN}\", tenant: t, allow: tenant }]\n"
                + "caps: [{ name: c, limit: $1, per: day }]",
            ["1:57: 'allow' has 'tenant', which this key fixes; the fixed value wins"])
    }
}

@Suite struct `Settings of a configuration` {
    private func check(
        _ text: String, _ expected: String, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        expectProblems(text, ["1:\(expected)"], sourceLocation: sourceLocation)
    }

    @Test(arguments: [
        ("127.0.0.1:0", "127.0.0.1", 0), ("localhost:65535", "localhost", 65_535),
        ("[::1]:80", "::1", 80), ("[fe80::1:2]:80", "fe80::1:2", 80),
        ("[::ffff:10.0.0.1]:80", "::ffff:10.0.0.1", 80), ("a-b.c_d:1", "a-b.c_d", 1),
    ])
    func `an address has a host and a port`(text: String, host: String, port: Int) throws {
        let address = try Address(text)
        #expect(address == Address(host: host, port: port))
        #expect(address.description == text)
    }

    @Test(arguments: [
        "", "localhost", ":80", "localhost:", "localhost:http", "localhost:65536", "localhost:-1",
        "localhost:+1", "::1:80", "[::1]", "[]:80", "[::1:80", "[abc]:80", "a b:80", "http://a:80",
        "[::1]x:80", "host:000080",
    ])
    func `what is not an address is refused`(text: String) {
        #expect(throws: ValueError.self) { try Address(text) }
    }

    @Test func `two listeners cannot share an address`() {
        check(
            "{ listen: \"127.0.0.1:80\", admin: { listen: \"127.0.0.1:80\" } }",
            "34: admin.listen is the same address as 'listen'")
        check(
            "counter: { listen: \"127.0.0.1:8081\" }",
            "10: counter.listen is the same address as 'admin.listen'")
        #expect(throws: Never.self) {
            try read("{ listen: \"127.0.0.1:0\", admin: { listen: \"127.0.0.1:0\" } }")
        }
    }

    @Test func `a list of stores has each database once`() {
        check("store: []", "8: 'store' is an empty list")
        check(
            "store: [\"postgres://a/b\", \"postgres://a/b\"]",
            "27: the database postgres://a/b is listed twice")
    }

    @Test func `what makes a cluster is checked`() {
        check("tls: { certificate: a.pem }", "6: 'tls' needs 'key'")
        check(
            "node_tls: { certificate: a.pem, key: b.pem }", "11: 'node_tls' needs 'authority'")
        check(
            "{ plaintext_nodes: true, node_tls: { authority: a, certificate: b, key: c } }",
            "20: 'plaintext_nodes' beside 'node_tls': only one of them can be meant")
        check(
            "counter: { listen: a:1, advertise: \"0.0.0.0:1\" }",
            "36: edges cannot connect to 0.0.0.0:1")
        check(
            "counter: { listen: a:1, edge_slice: 0% }",
            "37: 'edge_slice': '0%' is not between 1% and 100%")
        check(
            "counter: { listen: a:1, edge_slice: half }",
            "37: 'edge_slice': 'half' is not a whole percentage; write it as 25%")
        check(
            "counter: { listen: a:1, edge_accounts: 0 }",
            "40: 'edge_accounts': '0' is not between 1 and 100000000")
    }

    @Test(arguments: [
        ("listen: \"10.0.0.1:7070\"", "", true), ("listen: \"127.0.0.1:7070\"", "", false),
        ("listen: localhost:7070", "", false), ("listen: \"[::1]:7070\"", "", false),
        ("listen: \"0.0.0.0:7070\"", "", true),
        ("listen: \"0.0.0.0:7070\"", "plaintext_nodes: true", false),
        ("listen: \"0.0.0.0:7070\"", "node_tls: { authority: a, certificate: b, key: c }", false),
    ])
    func `plain text between nodes stays on this machine`(
        listen: String, more: String, isRefused: Bool
    ) throws {
        let config = try read("counter: { \(listen) }\n\(more)\n")
        let problems = config.requireCounter().map(\.description)
        #expect(problems.isEmpty != isRefused, "\(problems)")
        if isRefused {
            #expect(problems[0].contains("would cross the network"))
            #expect(problems[0].contains("node_tls"))
        }
    }

    @Test(arguments: [
        ("postgres://u:secret@h1,h2/db", "postgres://u@h1,h2/db"),
        ("postgresql://h/db?password=secret&sslmode=require", "postgresql://h/db?sslmode=require"),
        ("postgres://u:s@h/db?sslpassword=secret", "postgres://u@h/db"),
        ("postgres://h", "postgres://h"), ("postgres://u:a@b@h/d", "postgres://u@h/d"),
    ])
    func `a database is shown without its password`(uri: String, shown: String) throws {
        let config = try read("store: \"\(uri)\"")
        #expect(config.store.description == shown)
        guard case .postgres(let shards) = config.store else {
            Issue.record("not a PostgreSQL store")
            return
        }
        #expect(shards.map(\.uri) == [uri])
    }

    @Test func `a counter to connect to has one entry and a port`() {
        check("counters: [127.0.0.1:0]", "12: a counter to connect to cannot have port 0")
        check("counters: [a:1, b:1, a:1]", "22: the counter a:1 is listed twice")
    }

    @Test(arguments: [
        "postgres:host", "postgres://", "postgres://a b/c", "postgres://u:pa/ss@host/d",
        "mysql://a/b", "holdfast.db", "sqlite:",
        "SQLite:a",
    ])
    func `what is not a store is refused`(store: String) {
        #expect(throws: ConfigError.self) { try read("store: \"\(store)\"") }
    }

    @Test(arguments: [
        ("https://api.example.com/v1", "https://api.example.com/v1"),
        ("https://api.example.com/", "https://api.example.com"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("http://[::1]:9000/v1//", "http://[::1]:9000/v1"), ("https://[::1]", "https://[::1]"),
    ])
    func `a base URL has no slash at its end`(text: String, url: String) throws {
        let config = try read("providers: { a: { base_url: \"\(text)\" } }")
        #expect(config.providers["a"]?.baseURL == url)
    }

    @Test(arguments: [
        "api.example.com", "ftp://a", "https://", "https:///v1", "https://a?b", "https://a#b",
        "https://user:pass@a", "https://a b", "https://a:b", "https://a:0", "https://a:99999",
        "HTTPS://a", "https://ä",
    ])
    func `what is not a base URL is refused`(url: String) {
        #expect(throws: ConfigError.self) {
            try read("providers: { a: { base_url: \"\(url)\" } }")
        }
    }

    @Test(arguments: [
        ("http://gateway.internal/v1", true), ("http://10.0.0.1:80", true),
        ("http://localhost.example.com", true), ("http://127.0.0.1:9000", false),
        ("http://localhost:9000", false), ("http://[::1]:9000", false),
        ("https://gateway.internal", false),
    ])
    func `a key sent over plain HTTP is pointed out`(url: String, isWarned: Bool) throws {
        let warnings = try read(
            "providers: { a: { base_url: \"\(url)\", api_key: \"${TOKEN}\" } }"
        ).warnings.filter { $0.message.contains("plain HTTP") }
        #expect(!warnings.isEmpty == isWarned)
    }

    @Test(arguments: [
        ("wait: 2", "17: 'wait': '2' has no unit; write it as 2ms or 2s"),
        ("wait: 2d", "17: 'wait': '2d' is not a duration; write it as 250ms, 2s or 5m"),
        ("wait: -2s", "17: 'wait': '-2s' is not a duration; write it as 250ms, 2s or 5m"),
        ("wait: 1.5s", "17: 'wait': '1.5s' is not a duration; write it as 250ms, 2s or 5m"),
        ("wait: 61s", "17: 'wait': '61s' is not between 0s and 1m"),
        ("drain: 2h", "18: 'drain': '2h' is not between 0s and 1h"),
        ("body: 32MB", "17: 'body': '32MB' is not a size; write 32MiB"),
        ("body: 100", "17: 'body': '100' has no unit; write it as 64KiB or 32MiB"),
        ("body: 2GiB", "17: 'body': '2GiB' is not between 1KiB and 1GiB"),
        ("header: 1B", "19: 'header': '1B' is not between 1KiB and 1MiB"),
        ("stream_buffer: x", "26: 'stream_buffer': 'x' is not a size; write it as 64KiB or 32MiB"),
        ("clamp: yes", "18: 'clamp': 'yes' is not true or false"),
        (
            "clamp_minimum: 0",
            "26: 'clamp_minimum': '0' is not between 1 tokens and 1000000 tokens"
        ),
        (
            "new_accounts_per_minute: 1.5",
            "36: 'new_accounts_per_minute': '1.5' is not a whole number"
        ),
        (
            "new_accounts_per_minute: 0",
            "36: 'new_accounts_per_minute': '0' is not between 1 and 1000000"
        ),
        (
            "header_scope: { model: X-Model }",
            "27: unknown key 'model' in 'header_scope'"
        ),
        (
            "header_scope: { user: \"X User\" }",
            "33: 'user': 'X User' is not the name of a header; write it as X-Tenant-Id"
        ),
        (
            "header_scope: { user: Authorization }",
            "33: 'user': 'Authorization' is a header for credentials, "
                + "which would end up in metrics and logs"
        ),
        (
            "header_scope: { user: X-A, session: x-a }",
            "47: the header 'x-a' sets both 'user' and 'session'"
        ),
    ])
    func `a limit outside its bounds is refused`(setting: String, problem: String) {
        check("limits: { \(setting) }", problem)
    }

    @Test(arguments: [
        ("0s", Duration.zero), ("250ms", .milliseconds(250)), ("60s", .seconds(60)),
        ("1m", .seconds(60)),
    ])
    func `a duration has a unit`(text: String, duration: Duration) throws {
        #expect(try read("limits: { wait: \(text) }").limits.wait == duration)
    }

    @Test func `a price is complete and plausible`() throws {
        expectProblems(
            "prices:\n  - { provider: openai, input: free, output: $-1, context: 1k }\n",
            [
                "2:5: a price needs 'model'",
                "2:32: 'input': 'free' is not an amount of dollars; write it as $1,000.50",
                "2:46: 'output': '$-1' is not an amount of dollars; write it as $1,000.50",
            ])
        check(
            "prices: [{ provider: a, model: m, input: 1, output: 1, context: 1k, max_output: 2k }]",
            "81: 'max_output' is more than 'context'")
        try expectWarnings(
            """
            prices: [{ provider: a, model: m, input: 0, output: 1 }]
            caps: [{ name: c, limit: $1, per: day }]
            """,
            [
                "1:10: a 'm' has tokens that cost nothing: caps in dollars will not stop them"
            ])
    }
}
