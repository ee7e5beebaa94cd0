import HoldfastProviders
import Testing

/// The fields of every row of a book's table, by the names of their columns.
func priceFields(_ book: PriceBook) -> [[String: String]] {
    let lines = book.tsv.split(separator: "\n").map {
        $0.split(separator: "\t", omittingEmptySubsequences: false).map { String($0) }
    }
    guard let header = lines.first else { return [] }
    return lines.dropFirst().map { Dictionary(uniqueKeysWithValues: zip(header, $0)) }
}

/// A LiteLLM row of OpenAI's; further members follow as JSON text.
private func row(
    _ more: String = "", provider: String = "openai", mode: String = "chat",
    input: String = "2e-06", output: String = "1e-05"
) -> String {
    """
    {"litellm_provider":"\(provider)","mode":"\(mode)","input_cost_per_token":\(input),\
    "output_cost_per_token":\(output)\(more.isEmpty ? "" : "," + more)}
    """
}

/// A document of rows, by name.
private func document(_ rows: (String, String)...) -> [UInt8] {
    Array("{\(rows.map { "\"\($0.0)\":\($0.1)" }.joined(separator: ","))}".utf8)
}

/// The only row of an import.
private func only(_ imported: PriceImport) throws -> [String: String] {
    let rows = priceFields(imported.book)
    #expect(rows.count == 1)
    return try #require(rows.first)
}

@Suite struct `Price import` {
    // MARK: - Numbers

    @Test(arguments: [
        ("2e-06", "2000000000"), ("1.5e-07", "150000000"), ("0.00000125", "1250000000"),
        ("\"0.000004\"", "4000000000"), ("3E-6", "3000000000"), ("0.30e-5", "3000000000"),
        ("1", "1000000000000000"), ("1e-15", "1"), ("10e-16", "1"), ("1e+0", "1000000000000000"),
        ("0.000000000000001000", "1"),
    ])
    func `prices are exact`(text: String, nanos: String) throws {
        let imported = try PriceImport(document(("m", row(input: text))))
        #expect(try only(imported)["input"] == nanos)
        #expect(imported.rounded.isEmpty)
    }

    @Test(arguments: [
        ("1e-16", "1"), ("1.0000000000000001e-15", "2"), ("1e-400", "1"),
        ("1.3200000000000001e-06", "1320000001"), ("0.0000001234567891", "123456790"),
        ("1e-99999999999999999999999", "1"),
    ])
    func `what is more precise is rounded up`(text: String, nanos: String) throws {
        let imported = try PriceImport(document(("m", row(input: text))))
        #expect(try only(imported)["input"] == nanos)
        #expect(imported.rounded == ["openai/m"])
    }

    @Test(arguments: [
        ("1e400", "out of range"), ("1.1", "out of range"), ("1e99999999999999999999", "range"),
        ("-1e-06", "is negative"), ("\"-1\"", "is negative"), ("0", "is zero"),
        ("0.0e9", "is zero"), ("-0", "is zero"), ("null", "has no input price"),
        ("\"free\"", "not a number"), ("\"\"", "not a number"), ("\" 1\"", "not a number"),
        ("\"1e\"", "not a number"), ("\".5\"", "not a number"), ("\"1.\"", "not a number"),
        ("[]", "not a number"), ("true", "not a number"),
    ])
    func `a row without a usable price is left out`(text: String, says: String) throws {
        let imported = try PriceImport(document(("bad", row(input: text)), ("good", row())))
        #expect(try only(imported)["model"] == "good")
        #expect(imported.leftOut.map(\.name) == ["bad"])
        #expect(imported.leftOut.first?.reason.contains(says) == true)
    }

    // MARK: - Documents

    @Test func `every cut of a document is an error`() throws {
        let liteLLM = document(("m", row("\"max_input_tokens\":1000,\"x\":[null,\"\\u00e4\"]")))
        let openRouter = Array(
            #"{"data":[{"id":"a/b","pricing":{"prompt":"1e-6","completion":"1e-6"}}]}"#.utf8)
        for bytes in [liteLLM, openRouter] {
            _ = try PriceImport(bytes)
            for count in 0..<bytes.count {
                #expect(throws: PriceImportError.self) { try PriceImport(Array(bytes[..<count])) }
            }
        }
    }

    @Test(arguments: ["", " ", "[]", "[1]", "{}", "{\"a\":1}", "<html>", "404: not found"])
    func `other texts have no known format`(text: String) {
        #expect(throws: PriceImportError.unknownFormat) { try PriceImport(Array(text.utf8)) }
    }

    @Test func `a list without a usable row says why`() {
        let bytes = document(("m", row(input: "0")))
        let error = #expect(throws: PriceImportError.self) { try PriceImport(bytes) }
        #expect(error?.description.contains("m: its input price is zero") == true)
        #expect(throws: PriceImportError.self) {
            try PriceImport(Array("{\"data\":[]}".utf8))
        }
    }

    @Test func `a table of our own is taken as it is`() throws {
        let table = priceTable(
            "provider model input output aliases", "acme small 1 2 -", "other big 3 4 b")
        let imported = try PriceImport(Array("# note\n\(table)".utf8))
        #expect(imported.format == .table)
        #expect(try imported.book == PriceBook(tsv: table))
        let part = try PriceImport(Array(table.utf8), providers: ["other"])
        #expect(try only(part)["aliases"] == "b")
        #expect(throws: PriceImportError.self) {
            try PriceImport(Array(table.utf8), providers: ["none"])
        }
        let broken = Array(priceTable("provider model input output", "acme small 0 2").utf8)
        let error = #expect(throws: PriceImportError.self) { try PriceImport(broken) }
        #expect(error?.description.contains("line 2") == true)
    }

    @Test func `a name that comes twice in a row leaves it out`() throws {
        let bytes = document(("bad", row("\"mode\":\"chat\"")), ("good", row()))
        let imported = try PriceImport(bytes)
        #expect(imported.leftOut.map(\.reason) == ["mode is there twice"])
    }
}

@Suite struct `LiteLLM prices` {
    @Test func `every column that the source has is filled`() throws {
        let bytes = document(
            (
                "claude-x",
                row(
                    """
                    "cache_read_input_token_cost":2e-07,"cache_creation_input_token_cost":2.5e-06,
                    "cache_creation_input_token_cost_above_1hr":4e-06,
                    "input_cost_per_token_above_200k_tokens":4e-06,
                    "output_cost_per_token_above_200k_tokens":1.5e-05,
                    "input_cost_per_token_priority":4e-06,"output_cost_per_token_priority":2e-05,
                    "input_cost_per_token_flex":1e-06,"output_cost_per_token_flex":5e-06,
                    "input_cost_per_token_batches":1e-06,"input_cost_per_audio_token":3e-06,
                    "output_cost_per_audio_token":2e-05,"max_input_tokens":922000,
                    "max_output_tokens":128000,"provider_specific_entry":{"us":1.1,"fast":2.0},
                    "search_context_cost_per_query":{"search_context_size_low":0.01,
                    "search_context_size_medium":0.0125,"search_context_size_high":0.012}
                    """,
                    provider: "anthropic")
            ))
        let fields = try only(try PriceImport(bytes))
        let expected = [
            "provider": "anthropic", "model": "claude-x", "mode": "chat",
            "certainty": "confirmed", "input": "2000000000", "cache_read": "200000000",
            "cache_write": "2500000000", "cache_write_long": "4000000000",
            "output": "10000000000", "context": "922000", "max_output": "128000",
            "long_above": "200000", "long_input": "4000000000", "long_output": "15000000000",
            // In proportion to the input price, because the source is silent.
            "long_cache_write": "5000000000", "long_cache_write_long": "8000000000",
            "long_cache_read": "",
            "tiers": "flex:1000000000//1250000000/5000000000;"
                + "priority:4000000000//5000000000/20000000000",
            "audio_input": "3000000000", "audio_output": "20000000000",
            "fast_multiplier_tenths": "20", "geo_us_multiplier_tenths": "11",
            "web_search_nano_usd_per_call": "12500000", "source": "litellm:claude-x",
        ]
        for (column, value) in expected { #expect(fields[column] == value, "\(column)") }
    }

    @Test(arguments: [
        ("groq", "groq/llama", "groq", "llama"), ("gemini", "gemini/g-1", "gemini", "g-1"),
        ("cohere_chat", "command-r", "cohere", "command-r"),
        ("cohere", "cohere/embed", "cohere", "embed"),
        ("bedrock_converse", "us.anthropic.c-v1:0", "bedrock", "us.anthropic.c-v1:0"),
        ("azure", "azure/us/gpt", "azure", "us/gpt"), ("xai", "xai/grok", "xai", "grok"),
        ("openrouter", "openrouter/a/b", "openrouter", "a/b"),
    ])
    func `providers and models get our names`(
        source: String, key: String, provider: String, model: String
    ) throws {
        let fields = try only(try PriceImport(document((key, row(provider: source)))))
        #expect(fields["provider"] == provider)
        #expect(fields["model"] == model)
    }

    @Test func `other providers are taken only when they are asked for`() throws {
        let bytes = document(
            ("acme/a", row(provider: "acme")), ("acme/b", row(provider: "acme")), ("m", row()))
        let usual = try PriceImport(bytes)
        #expect(try only(usual)["model"] == "m")
        #expect(usual.leftOut.map(\.name) == ["acme (2)"])
        let asked = try PriceImport(bytes, providers: ["acme"])
        #expect(priceFields(asked.book).map { $0["model"] } == ["a", "b"])
        #expect(asked.leftOut.isEmpty)
    }

    @Test(arguments: [
        (row(mode: "image_generation"), "mode image_generation"),
        (row("\"input_cost_per_image\":0.01"), "billed by input_cost_per_image"),
        (row("\"input_cost_per_token_weekend\":1e-06"), "input_cost_per_token_weekend"),
        (row("\"tiered_pricing\":[]"), "tiered_pricing"),
        (row("\"input_cost_per_image_token\":9e-06"), "images or videos"),
        (row("\"cache_read_input_token_cost\":-1"), "cache_read_input_token_cost is negative"),
        (
            row(
                """
                "input_cost_per_token_above_128k_tokens":4e-06,
                "output_cost_per_token_above_128k_tokens":4e-06,
                "input_cost_per_token_above_200k_tokens":5e-06,
                "output_cost_per_token_above_200k_tokens":5e-06
                """), "several long-context thresholds"
        ),
        (row("\"input_cost_per_token_above_128k_tokens\":4e-06"), "long-context prices lack"),
        ("{\"litellm_provider\":\"openai\",\"mode\":\"chat\"}", "no input price"),
        ("{\"mode\":\"chat\"}", "no litellm_provider"), ("1", "not an object"),
    ])
    func `what our columns cannot bill is left out`(text: String, says: String) throws {
        let imported = try PriceImport(document(("bad", text), ("good", row())))
        #expect(try only(imported)["model"] == "good")
        #expect(imported.leftOut.map(\.name) == ["bad"])
        #expect(imported.leftOut.first?.reason.contains(says) == true)
    }

    @Test func `an embedding has no output and no zero`() throws {
        let bytes = document(("e", row(mode: "embedding", input: "1e-07", output: "0.0")))
        let fields = try only(try PriceImport(bytes))
        #expect(fields["input"] == "100000000")
        #expect(fields["output"] == "100000000")
        #expect(fields["mode"] == "embedding")
    }

    @Test func `the dearer of two rows for one model is kept`() throws {
        for rows in [["deepseek/d", "d"], ["d", "deepseek/d"]] {
            let cheap = row(provider: "deepseek", input: "1e-06")
            let dear = row(provider: "deepseek")
            let imported = try PriceImport(document((rows[0], cheap), (rows[1], dear)))
            #expect(try only(imported)["input"] == "2000000000")
            #expect(imported.notes.count == 1)
            #expect(imported.notes.first?.contains("took \(rows[1]),") == true)
        }
    }

    @Test func `two rows of which neither is the dearer are both left out`() throws {
        let imported = try PriceImport(
            document(
                ("deepseek/d", row(provider: "deepseek", input: "1e-06", output: "3e-05")),
                ("d", row(provider: "deepseek")), ("m", row())))
        #expect(try only(imported)["model"] == "m")
        #expect(imported.leftOut.map(\.name) == ["deepseek/d and d"])
    }

    @Test func `a price of one region is not the price of its model`() throws {
        let imported = try PriceImport(
            document(("bedrock/us-gov-west-1/c", row(provider: "bedrock")), ("m", row())))
        #expect(imported.leftOut.first?.reason.contains("one region") == true)
    }

    @Test func `xAI counts the threshold itself as long`() throws {
        let long = """
            "input_cost_per_token_above_200k_tokens":4e-06,
            "output_cost_per_token_above_200k_tokens":2e-05
            """
        let imported = try PriceImport(document(("xai/grok", row(long, provider: "xai"))))
        #expect(try only(imported)["long_above"] == "199999")
    }

    @Test func `what OpenAI charges and the source does not say is completed`() throws {
        let imported = try PriceImport(document(("gpt-5.6", row()), ("gpt-5.4", row())))
        let rows = priceFields(imported.book)
        #expect(rows.map { $0["cache_write"] } == ["2500000000", ""])
        #expect(rows.map { $0["long_above"] } == ["272000", ""])
        #expect(rows.map { $0["long_input"] } == ["4000000000", ""])
        #expect(rows.map { $0["long_cache_write_long"] } == ["10000000000", ""])
        #expect(imported.notes.count == 1)
    }

    @Test func `a cache write below the input price is no write`() throws {
        let bytes = document(("m", row("\"cache_creation_input_token_cost\":1e-06")))
        #expect(try only(try PriceImport(bytes))["cache_write"] == "")
    }
}

@Suite struct `OpenRouter prices` {
    private func imported(_ pricing: String, _ more: String = "") throws -> PriceImport {
        let good = #"{"id":"good","pricing":{"prompt":"1e-6","completion":"1e-6"}}"#
        let model = "{\"id\":\"acme/x\",\"pricing\":{\(pricing)}\(more)}"
        return try PriceImport(Array("{\"data\":[\(model),\(good)]}".utf8))
    }

    @Test func `prices, context and the long tier are taken`() throws {
        let imported = try self.imported(
            """
            "prompt":"0.000004","completion":"0.00002","request":"0","image":"0",
            "web_search":"0.01","internal_reasoning":"0.00003","input_cache_read":"0.0000002",
            "input_cache_write":"0.000005","input_cache_write_1h":"0.000008","audio":"0",
            "overrides":[{"min_prompt_tokens":200001,"prompt":"0.000008"}]
            """,
            ",\"context_length\":1000000,\"top_provider\":{\"max_completion_tokens\":128000}")
        let fields = try #require(priceFields(imported.book).first)
        let expected = [
            "provider": "openrouter", "model": "acme/x", "input": "4000000000",
            "cache_read": "200000000", "cache_write": "5000000000",
            "cache_write_long": "8000000000", "output": "30000000000", "context": "1000000",
            "max_output": "", "long_above": "200000", "long_input": "8000000000",
            "long_output": "30000000000", "long_cache_write": "10000000000",
            "audio_input": "", "web_search_nano_usd_per_call": "10000000",
            "source": "openrouter:acme/x",
        ]
        for (column, value) in expected { #expect(fields[column] == value, "\(column)") }
        #expect(imported.leftOut.isEmpty)
    }

    @Test(arguments: [
        (#""prompt":"-1","completion":"-1""#, "is negative"),
        (#""prompt":"0","completion":"0""#, "prompt price is zero"),
        (#""prompt":"1e-6""#, "no completion price"),
        (#""prompt":"1e-6","completion":"1e-6","request":"0.01""#, "billed by request"),
        (#""prompt":"1e-6","completion":"1e-6","image":"0.01""#, "billed by image"),
        (#""prompt":"1e-6","completion":"1e-6","sparkle":"0.01""#, "billed by sparkle"),
        (#""prompt":"1e-6","completion":"1e-6","sparkle":{}"#, "sparkle is not a number"),
        (
            #""prompt":"1e-6","completion":"1e-6","overrides":[{"prompt":"2e-6"}]"#,
            "without min_prompt_tokens"
        ),
        (
            #""prompt":"1e-6","completion":"1e-6","overrides":"#
                + #"[{"min_prompt_tokens":9,"utc_start":"10:00"}]"#, "time of day"
        ),
        (
            #""prompt":"1e-6","completion":"1e-6","overrides":"#
                + #"[{"min_prompt_tokens":9},{"min_prompt_tokens":99}]"#, "several price overrides"
        ),
        (#""prompt":"1e-6","completion":"1e-6","overrides":{}"#, "no list"),
    ])
    func `what our columns cannot bill is left out`(pricing: String, says: String) throws {
        let imported = try self.imported(pricing)
        #expect(try only(imported)["model"] == "good")
        #expect(imported.leftOut.map(\.name) == ["acme/x"])
        #expect(imported.leftOut.first?.reason.contains(says) == true)
    }

    @Test func `a write below the input price is billed on top of it`() throws {
        let imported = try self.imported(
            #""prompt":"2e-6","completion":"1e-5","input_cache_write":"5e-7""#)
        #expect(priceFields(imported.book).first?["cache_write"] == "2500000000")
    }
}
