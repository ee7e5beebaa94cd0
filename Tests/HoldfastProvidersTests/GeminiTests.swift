import Testing

@testable import HoldfastProviders

/// Gemini's requests: what is refused, what is bounded, and what is spliced in.
@Suite struct `Gemini request` {
    private static let endpoint = GeminiGenerate(isStreamed: false, version: "v1beta")
    private static let contents = #""contents":[{"role":"user","parts":[{"text":"Hi"}]}]"#

    private func facts(_ body: String) throws -> RequestFacts {
        try Self.endpoint.facts(of: Array(body.utf8))
    }

    private func facts(with member: String) throws -> RequestFacts {
        try facts("{\(member),\(Self.contents)}")
    }

    private func refusal(_ body: String) -> RequestError? {
        do throws(RequestError) {
            _ = try Self.endpoint.facts(of: Array(body.utf8))
            return nil
        } catch {
            return error
        }
    }

    private func check(
        _ member: String, _ code: String?, _ param: String? = nil,
        at location: SourceLocation = #_sourceLocation
    ) {
        let error = refusal("{\(member),\(Self.contents)}")
        #expect(error?.code == code, "\(member)", sourceLocation: location)
        #expect(error?.param == param, "\(member)", sourceLocation: location)
    }

    private func checkPart(
        _ part: String, _ code: String?, _ param: String? = nil,
        at location: SourceLocation = #_sourceLocation
    ) {
        let error = refusal(#"{"contents":[{"parts":[{"text":"Hi"},\#(part)]}]}"#)
        #expect(error?.code == code, "\(part)", sourceLocation: location)
        let path = param.map { "contents[0].parts[1]\($0)" }
        #expect(error?.param == path, "\(part)", sourceLocation: location)
    }

    // MARK: - Catalog

    @Test func `the path says what is asked for`() throws {
        for version in ["v1beta", "v1"] {
            for (call, isFree) in [
                ("generateContent", false), ("streamGenerateContent", false),
                ("countTokens", true),
            ] {
                let found = try #require(
                    Gemini.api.endpoint(
                        method: "POST", path: "/\(version)/models/gemini-3:\(call)"))
                #expect(found.model == "gemini-3" && found.endpoint.isFree == isFree)
            }
        }
        #expect(Gemini.api.endpoints.count == 6)
        #expect(Gemini.api.authorization(apiKey: "k").map(\.name) == ["x-goog-api-key"])
        let body = Array("{\(Self.contents)}".utf8)
        #expect(
            try GeminiGenerate(isStreamed: false, version: "v1beta").facts(of: body).isStream
                == false)
        #expect(try GeminiGenerate(isStreamed: true, version: "v1beta").facts(of: body).isStream)
        #expect(try GeminiCountTokens(version: "v1").facts(of: body).model.isEmpty)
    }

    @Test func `the model is not in the body`() throws {
        #expect(try facts("{\(Self.contents)}").model.isEmpty)
        check(#""model":null"#, nil)
        check(#""model":"gemini-4-argon""#, "invalid_field", "model")
        check(#""model":7"#, "invalid_field", "model")
    }

    // MARK: - Prompt

    @Test func `a request without contents is refused`() {
        for body in ["{}", #"{"contents":[]}"#, #"{"contents":null}"#] {
            #expect(refusal(body) == .missing(param: "contents"))
        }
        #expect(refusal("[]") == .notAnObject)
        for contents in ["\"Hi\"", "7", "[\"Hi\"]", "[[]]", "[{\"parts\":\"Hi\"}]"] {
            #expect(refusal("{\"contents\":\(contents)}")?.code == "invalid_field")
        }
    }

    @Test func `lists may be written as their only element`() throws {
        let body =
            #"{"system_instruction":{"parts":{"text":"You are Neko."}},"#
            + #""contents":{"parts":{"text":"Hi"}},"tools":{"function_declarations":{"name":"a"}},"#
            + #""generationConfig":{"responseModalities":"TEXT"}}"#
        let facts = try facts(body)
        // Two contents, one tool, and the request itself.
        #expect(facts.promptTokensMax >= UInt64(body.utf8.count) + 3 * 16 + 64)
        #expect(
            refusal(#"{"contents":{"parts":{"fileData":{}}}}"#)?.param
                == "contents[0].parts[0].fileData")
        check(#""tools":{"googleSearch":{}}"#, "cost_unbounded", "tools[0].googleSearch")
    }

    @Test func `parts are read for what bytes do not say`() throws {
        checkPart(#"{"text":"a","thought":true,"thoughtSignature":"CiQB"}"#, nil)
        checkPart(#"{"functionCall":{"name":"a","args":{"fileData":{},"parts":7}}}"#, nil)
        checkPart(#"{"functionResponse":{"name":"a","response":{"fileData":1}}}"#, nil)
        checkPart(#"{"text":"a","partMetadata":{"x":1},"mediaResolution":{}}"#, nil)
        checkPart(#"{"fileData":null,"executableCode":null,"new":null}"#, nil)
        checkPart("null", nil)
        checkPart(#"{"fileData":{"fileUri":"x"}}"#, "cost_unbounded", ".fileData")
        checkPart(#"{"file_data":{"file_uri":"x"}}"#, "cost_unbounded", ".fileData")
        checkPart(#"{"file\u0044ata":{"fileUri":"x"}}"#, "cost_unbounded", ".fileData")
        checkPart(
            #"{"functionResponse":{"parts":[{"fileData":{}}]}}"#, "cost_unbounded",
            ".functionResponse.parts[0].fileData")
        for name in ["executableCode", "code_execution_result", "toolCall", "tool_response"] {
            checkPart("{\"\(name)\":{}}", "cost_unbounded", "")
        }
        checkPart(#"{"hologram":{}}"#, "cost_unbounded", "")
        checkPart(#"{"text":"a","text":"b"}"#, "duplicate_field", ".text")
        checkPart(#"{"inlineData":{},"inline_data":{}}"#, "missing_field", ".inlineData.mimeType")
    }

    @Test func `media are judged by their type`() throws {
        for type in ["image/png", "IMAGE/JPEG", "application/pdf", "text/plain"] {
            for (blob, mime) in [("inlineData", "mimeType"), ("inline_data", "mime_type")] {
                let part = "{\"\(blob)\":{\"\(mime)\":\"\(type)\",\"data\":\"AAAA\"}}"
                #expect(try facts("{\"contents\":{\"parts\":\(part)}}").promptIsUnboundedByBytes)
            }
        }
        #expect(try !facts("{\(Self.contents)}").promptIsUnboundedByBytes)
        for type in ["audio/wav", "Audio/mp3", "video/mp4", "application/octet-stream", ""] {
            checkPart(
                #"{"inlineData":{"mimeType":"\#(type)","data":"AAAA"}}"#, "cost_unbounded",
                ".inlineData.mimeType")
        }
        checkPart(#"{"inlineData":{"data":"AAAA"}}"#, "missing_field", ".inlineData.mimeType")
        checkPart(
            #"{"inlineData":{"mimeType":"image/png","mime_type":"audio/wav"}}"#,
            "conflicting_fields", ".inlineData.mimeType")
    }

    // MARK: - Options

    @Test func `fields that break the bound are refused`() {
        for name in ["cachedContent", "continuationToken"] {
            check("\"\(name)\":\"x\"", "cost_unbounded", name)
        }
        check(#""cached_content":"cachedContents/x""#, "cost_unbounded", "cachedContent")
        for tool in [
            "googleSearch", "googleSearchRetrieval", "urlContext", "codeExecution", "googleMaps",
            "fileSearch", "computerUse", "mcpServers", "retrieval", "enterpriseWebSearch",
        ] {
            let snake = SnakeName.of(tool)
            check("\"tools\":[{\"\(tool)\":{}}]", "cost_unbounded", "tools[0].\(tool)")
            check("\"tools\":[{},{\"\(snake)\":{}}]", "cost_unbounded", "tools[1].\(tool)")
        }
        check(#""tools":[{"teleport":{}}]"#, "cost_unbounded", "tools[0]")
        for option in [
            "speechConfig", "imageConfig", "responseFormat", "audioTranscriptionConfig",
            "translationConfig", "routingConfig", "modelSelectionConfig",
        ] {
            let param = "generationConfig.\(option)"
            check("\"generationConfig\":{\"\(option)\":{}}", "cost_unbounded", param)
            check(
                "\"generation_config\":{\"\(SnakeName.of(option))\":{}}", "cost_unbounded", param)
        }
        let modalities = "generationConfig.responseModalities"
        check(
            #""generationConfig":{"responseModalities":["TEXT","IMAGE"]}"#, "cost_unbounded",
            modalities)
        check(
            #""generationConfig":{"response_modalities":"AUDIO"}"#, "cost_unbounded", modalities)
        check(#""generationConfig":{"responseModalities":[2]}"#, "invalid_field", modalities)
        check(#""generationConfig":null"#, "invalid_field", "generationConfig")
        check(#""generationConfig":[]"#, "invalid_field", "generationConfig")
    }

    @Test func `fields that cost nothing by themselves pass`() {
        check(#""tools":[{"functionDeclarations":[{"name":"a","parameters":{}}]},{}]"#, nil)
        check(#""tools":[{"googleSearch":null,"teleport":null}],"cachedContent":null"#, nil)
        check(#""toolConfig":{"functionCallingConfig":{"mode":"ANY"}}"#, nil)
        check(#""safetySettings":[{"category":"X","threshold":"OFF"}],"labels":{"a":"b"}"#, nil)
        check(
            #""generationConfig":{"temperature":0.5,"responseMimeType":"application/json","#
                + #""responseSchema":{"type":"OBJECT"},"responseModalities":["TEXT"],"#
                + #""speechConfig":null}"#, nil)
    }

    @Test func `only one spelling of a field may be there and only once`() {
        check(
            #""generationConfig":{},"generation_config":{"maxOutputTokens":9}"#,
            "conflicting_fields", "generationConfig")
        check(
            #""generationConfig":{"maxOutputTokens":5,"max_output_tokens":9}"#,
            "conflicting_fields", "generationConfig.maxOutputTokens")
        check(
            #""generationConfig":{"candidate_count":1,"candidateCount":8}"#,
            "conflicting_fields", "generationConfig.candidateCount")
        check(
            #""generationConfig":{"max_output_tokens":5,"max_output\u005ftokens":9}"#,
            "duplicate_field", "generationConfig.max_output_tokens")
        check(Self.contents, "duplicate_field", "contents")
        check(#""tools":[],"tools":null"#, "duplicate_field", "tools")
        #expect(
            refusal(#"{"contents":{"parts":[]},"serviceTier":"flex","service_tier":null}"#)
                == .conflict(param: "serviceTier", other: "service_tier"))
    }

    @Test func `what bounds the output is read in both spellings`() throws {
        for (config, limit, count) in [
            ("generationConfig", "maxOutputTokens", "candidateCount"),
            ("generation_config", "max_output_tokens", "candidate_count"),
        ] {
            let facts = try facts(with: "\"\(config)\":{\"\(limit)\":700,\"\(count)\":3}")
            #expect(facts.outputLimit == 700)
            #expect(facts.choices == 3)
            for value in ["0", "-1", "1.5", "1e3", "\"5\"", "2147483649"] {
                check(
                    "\"\(config)\":{\"\(limit)\":\(value)}", "invalid_field",
                    "generationConfig.maxOutputTokens")
            }
            for value in ["0", "9", "\"2\""] {
                check(
                    "\"\(config)\":{\"\(count)\":\(value)}", "invalid_field",
                    "generationConfig.candidateCount")
            }
        }
        #expect(try facts("{\(Self.contents)}").outputLimit == nil)
    }

    @Test func `a budget for thinking comes on top of the limit`() throws {
        func check(
            _ config: String, extra: UInt64, minimum: UInt64,
            at location: SourceLocation = #_sourceLocation
        ) throws {
            let facts = try facts(
                with: #""generationConfig":{"thinkingConfig":\#(config),"candidateCount":2}"#)
            #expect(facts.extraOutputTokens == extra, sourceLocation: location)
            #expect(facts.outputLimitMin == minimum, sourceLocation: location)
        }
        try check(#"{"thinkingBudget":1024}"#, extra: 2_048, minimum: 1_025)
        try check(
            #"{"thinking_budget":1024,"includeThoughts":true}"#, extra: 2_048, minimum: 1_025)
        for config in [
            #"{"thinkingBudget":0}"#, #"{"thinkingBudget":-1}"#, #"{"thinkingBudget":null}"#,
            #"{"thinkingLevel":"HIGH"}"#, "{}", "null",
        ] {
            try check(config, extra: 0, minimum: 1)
        }
        for budget in ["-2", "1.5", "\"8\"", "99999999999"] {
            self.check(
                #""generationConfig":{"thinkingConfig":{"thinkingBudget":\#(budget)}}"#,
                "invalid_field", "generationConfig.thinkingConfig.thinkingBudget")
        }
    }

    @Test func `the service tier is read`() throws {
        #expect(try facts(with: #""serviceTier":"priority""#).serviceTier == "priority")
        #expect(try facts(with: #""service_tier":"flex""#).serviceTier == "flex")
        #expect(try facts(with: #""service_tier":"unspecified""#).serviceTier == nil)
        check(#""serviceTier":3"#, "invalid_field", "serviceTier")
    }

    // MARK: - Upstream body

    @Test(arguments: [
        (#"{ "contents":{"parts":[]}}"#, #"{"generationConfig":{"maxOutputTokens":7}, @}"#),
        (
            #"{"contents":{"parts":[]},"generationConfig":{ }}"#,
            #"{@,"generationConfig":{"maxOutputTokens":7 }}"#
        ),
        (
            #"{"generation_config": { "seed":1},"contents":{"parts":[]}}"#,
            #"{"generation_config": {"maxOutputTokens":7, "seed":1},@}"#
        ),
        (
            #"{"generationConfig":{"seed":1,"maxOutputTokens": 900 },"contents":{"parts":[]}}"#,
            #"{"generationConfig":{"seed":1,"maxOutputTokens": 7 },@}"#
        ),
        (
            #"{"generation_config":{"max_output_tokens":900},"contents":{"parts":[]}}"#,
            #"{"generation_config":{"max_output_tokens":7},@}"#
        ),
        (
            #"{"generationConfig":{"maxOutputTokens":null},"contents":{"parts":[]}}"#,
            #"{"generationConfig":{"maxOutputTokens":7},@}"#
        ),
    ])
    func `a clamp keeps every other byte`(body: String, sent: String) throws {
        let bytes = Array(body.utf8)
        let facts = try Self.endpoint.facts(of: bytes)
        let result = Self.endpoint.upstreamBody(bytes, facts: facts, outputLimit: 7)
        #expect(
            String(decoding: result, as: UTF8.self)
                == sent.replacing("@", with: #""contents":{"parts":[]}"#))
        #expect(try Self.endpoint.facts(of: result).outputLimit == 7)
        #expect(Self.endpoint.upstreamBody(bytes, facts: facts, outputLimit: nil) == bytes)
    }

    @Test func `a body with any one byte changed is refused or understood`() throws {
        let text =
            #"{"contents":[{"parts":[{"text":"é"},{"functionCall":{"a":1}}]}],"tools":[{}],"#
            + #""generation_config":{"seed":1,"candidateCount":2},"serviceTier":"flex"}"#
        let original = Array(text.utf8)
        for position in original.indices {
            for byte in Array("\"\\{}[]:,0-n\u{0} x".utf8) + [0xC3, 0xFF] {
                var body = original
                body[position] = byte
                let facts: RequestFacts
                do throws(RequestError) {
                    facts = try Self.endpoint.facts(of: body)
                } catch {
                    #expect(!error.message.isEmpty)
                    continue
                }
                let sent = Self.endpoint.upstreamBody(body, facts: facts, outputLimit: 7)
                let again = try Self.endpoint.facts(of: sent)
                #expect(again.outputLimit == 7 && again.choices == facts.choices)
            }
        }
    }
}

private enum SnakeName {
    static func of(_ name: String) -> String {
        name.map { $0.isUppercase ? "_\($0.lowercased())" : String($0) }.joined()
    }
}
