import HoldfastConfig
import Testing

@Suite struct `Configuration problems` {
    @Test func `every problem of a file is shown, in its order`() {
        expectProblems(
            """
            listen: 127.0.0.1
            colour: red
            providers:
              openai: { api_kee: x, base_url: ftp://example.com }
            keys:
              - { name: "a b", secret: "${NOT_SET}" }
              - secret: "${SUPPORT_KEY}"
            caps:
              - { name: daily, limt: $500, per: daily }
              - { name: weekly, limit: 500, per: week, each: usr }
            """,
            [
                "1:9: 'listen': '127.0.0.1' has no port; "
                    + "write it as 127.0.0.1:8080 or \"[::1]:8080\"",
                "2:1: unknown key 'colour' in the file",
                "4:13: unknown key 'api_kee' in provider 'openai'; did you mean 'api_key'?",
                "4:35: 'base_url': 'ftp://example.com' is not an http:// or https:// URL; "
                    + "write it as https://api.example.com/v1",
                "6:13: 'name': 'a b' is not a name; use letters, digits, '.', '_' and '-'",
                "6:28: 'secret' needs the environment variable 'NOT_SET', which is not set",
                "7:5: a key needs 'name'",
                "9:5: a cap needs 'limit'",
                "9:20: unknown key 'limt' in a cap; did you mean 'limit'?",
                "9:37: 'per': 'daily' is not a period; did you mean 'day'?",
                "10:28: 'limit': '500' does not say of what; write it as $500 or 2M tokens",
                "10:50: 'each': 'usr' is not a dimension; did you mean 'user'?",
            ])
    }

    @Test(arguments: ["", "\n", "# only a comment\n", "---\n", "~"])
    func `an empty file is a mistake`(text: String) {
        expectProblems(
            text,
            [
                "1:1: the file is empty; "
                    + "it needs 'providers', and 'caps' to limit what they may cost"
            ])
    }

    @Test func `a file that is not a map is a mistake`() {
        expectProblems("- a\n", ["1:1: the file must be a map of settings, not a list"])
        expectProblems("holdfast", ["1:1: the file must be a map of settings, not a single value"])
    }

    @Test func `a second document is a mistake`() {
        expectProblems(
            "caps: []\n---\ncaps: []\n",
            ["2:1: a second YAML document begins here; keep one, and no '---' after it"])
    }

    @Test func `a syntax error has its place, and a hint for our own forms`() {
        expectProblems(
            "caps: []\nlisten: [127.0.0.1:80\nstore: x\n",
            [
                "3:6: not valid YAML: did not find expected ',' or ']' "
                    + "while parsing a flow sequence that begins at line 2"
            ])
        expectProblems(
            "providers: { openai: { api_key: ${OPENAI_API_KEY} } }\n",
            [
                "1:34: not valid YAML: did not find expected ',' or '}' "
                    + "while parsing a flow mapping that begins at line 1; "
                    + "put a text with ${…} in double quotes"
            ])
        expectProblems("caps: *none\n", ["1:7: not valid YAML: found undefined alias"])
        expectProblems(
            "caps:\n\t- a\n",
            [
                "2:1: not valid YAML: found character that cannot start any token "
                    + "while scanning for the next token that begins at line 2"
            ])
    }

    @Test func `a duplicate key is a mistake at every level`() {
        expectProblems(
            "listen: 127.0.0.1:1\nlisten: 127.0.0.1:2\n",
            ["1:1: duplicate key 'listen': given again further down in the same map"])
        expectProblems(
            cap("name: c, limit: $1, per: day, limit: $2"),
            ["2:16: duplicate key 'limit': given again further down in the same map"])
    }

    @Test func `a comma inside braces does not shorten a limit`() {
        expectProblems(
            cap("name: c, limit: $1,000, per: day"),
            [
                "2:26: unknown key '000' in a cap; "
                    + "inside { } a comma ends the value: put the number in quotes"
            ])
        expectProblems(
            cap("name: c, limit: 1,000,000 tokens, per: day"),
            [
                "2:23: 'limit': '1' does not say of what; write it as $500 or 2M tokens",
                "2:25: unknown key '000' in a cap; "
                    + "inside { } a comma ends the value: put the number in quotes",
                "2:29: unknown key '000 tokens' in a cap; "
                    + "inside { } a comma ends the value: put the number in quotes",
            ])
    }

    @Test func `a value of the wrong kind is a mistake`() {
        expectProblems(
            """
            listen: { host: a }
            counters: 127.0.0.1:7070
            providers: [openai]
            keys: { name: support }
            caps:
              - daily
              - { name: [a], limit: , per: ~, scope: [tenant], each: { a: b } }
            limits: 5
            """,
            [
                "1:9: 'listen' must be a single value, not a map",
                "2:11: 'counters' in the file must be a list, not a single value",
                "3:12: 'providers' must be a map of settings, not a list",
                "4:7: 'keys' in the file must be a list, not a map",
                "6:5: a cap must be a map of settings, not a single value",
                "7:13: 'name' must be a single value, not a list",
                "7:25: 'limit' has no value",
                "7:32: 'per' has no value",
                "7:42: 'scope' must be a map of settings, not a list",
                "7:58: 'each' must be a single value, not a map",
                "8:9: 'limits' must be a map of settings, not a single value",
            ])
        expectProblems("[a]: b", ["1:1: a key in the file must be a text, not a list"])
        expectProblems(
            "base: &base { name: a }\ncaps:\n  - { <<: *base, limit: $1, per: day }\n",
            [
                "1:1: unknown key 'base' in the file",
                "3:5: a cap needs 'name'",
                "3:7: unknown key '<<' in a cap; merge keys are not supported",
            ])
    }

    @Test func `a name is used once`() {
        expectProblems(
            """
            keys:
              - { name: a, secret: "${SUPPORT_KEY}" }
              - { name: a, secret: "${TOKEN}" }
            caps:
              - { name: c, limit: $1, per: day }
              - { name: d, limit: $1, per: day }
              - { name: c, limit: $2, per: day }
            prices:
              - { provider: openai, model: m, input: 1, output: 1 }
              - { provider: openai, model: m, input: 2, output: 2 }
            """,
            [
                "3:5: there is already a key 'a', at line 2",
                "7:5: there is already a cap 'c', at line 5",
                "10:5: there is already a price of openai 'm'",
            ])
    }

    @Test func `names are short and plain`() {
        let long = String(repeating: "n", count: 128)
        #expect(throws: Never.self) {
            try read(cap("name: \(long), limit: $1, per: day"))
        }
        expectProblems(
            cap("name: \(long)n, limit: $1, per: day"),
            ["2:13: 'name': '\(long.prefix(59))…' is longer than 128 characters"])
        for name in ["a/b", "ä", "a b", "\"a|b\""] {
            #expect(throws: ConfigError.self) {
                try read(cap("name: \(name), limit: $1, per: day"))
            }
        }
    }

    @Test func `an unknown provider is a mistake where the known ones are given`() {
        let known: Set = ["openai", "anthropic"]
        expectProblems(
            """
            providers: { openia: {}, anthropic: {} }
            prices: [{ provider: bedrock, model: m, input: 1, output: 1 }]
            """,
            [
                "1:22: 'openia' is not a provider that Holdfast knows; did you mean 'openai'?",
                "2:22: 'provider': 'bedrock' is not a provider that Holdfast knows; "
                    + "it knows anthropic, openai",
            ],
            knownProviders: known)
    }
}
