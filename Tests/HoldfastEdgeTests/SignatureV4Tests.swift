import Testing

@testable import HoldfastEdge

/// All signatures are botocore's (1.44.8, `SigV4Auth` with the clock stopped).
@Suite struct SignatureV4Tests {
    private static let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    private static let host = "bedrock-runtime.us-east-1.amazonaws.com"
    private static let path = "/model/anthropic.claude-haiku-4-5-20251001-v1%3A0/converse"
    private static let body = Array(
        (#"{"messages":[{"role":"user","content":[{"text":"hi"}]}],"#
            + #""inferenceConfig":{"maxTokens":16}}"#).utf8)
    /// 2026-11-21T12:00:00Z
    private static let noon: Int64 = 1_795_262_400

    private func makeSigner(
        region: String = "us-east-1", sessionToken: String? = nil
    ) -> SignatureV4 {
        SignatureV4(
            credentials: SignatureV4.Credentials(
                accessKeyID: "AKIDEXAMPLE", secretAccessKey: Self.secret,
                sessionToken: sessionToken),
            region: region, service: "bedrock")
    }

    private func authorization(
        _ scope: String, signed names: String, _ signature: String
    ) -> String {
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/\(scope)/bedrock/aws4_request, "
            + "SignedHeaders=\(names), Signature=\(signature)"
    }

    private func check(
        _ headers: [(name: String, value: String)], _ expected: [(String, String)]
    ) {
        #expect(headers.map { "\($0.name): \($0.value)" } == expected.map { "\($0.0): \($0.1)" })
    }

    @Test func `a request is signed as botocore signs it`() {
        let headers = makeSigner().headers(
            method: "POST", host: Self.host, path: Self.path, query: "",
            headers: [("content-type", "application/json")], body: Self.body, at: Self.noon)
        check(
            headers,
            [
                ("x-amz-date", "20261121T120000Z"),
                (
                    "authorization",
                    authorization(
                        "20261121/us-east-1", signed: "content-type;host;x-amz-date",
                        "cbad9acae27ed8427050f02c42d2e76a393a2072692852c7274f0f1af3a85bb5")
                ),
            ])
    }

    @Test func `a session token is sent and signed`() {
        let headers = makeSigner(sessionToken: "SESSIONTOKEN").headers(
            method: "POST", host: Self.host, path: Self.path, query: "",
            headers: [("content-type", "application/json")], body: Self.body, at: Self.noon)
        check(
            headers,
            [
                ("x-amz-date", "20261121T120000Z"),
                ("x-amz-security-token", "SESSIONTOKEN"),
                (
                    "authorization",
                    authorization(
                        "20261121/us-east-1",
                        signed: "content-type;host;x-amz-date;x-amz-security-token",
                        "b795ea69af03934b1783a4dad6111b93e98d505a2859c4d1c99632cc9cf49a6e")
                ),
            ])
    }

    @Test func `the slashes of an ARN are part of its segment`() {
        let headers = makeSigner(region: "eu-central-1").headers(
            method: "POST", host: "bedrock-runtime.eu-central-1.amazonaws.com",
            path: "/model/arn%3Aaws%3Abedrock%3Aeu-central-1%3A123456789012"
                + "%3Aapplication-inference-profile%2Fa1b2c3d4e5f6/converse-stream",
            query: "", headers: [("content-type", "application/json")], body: Self.body,
            // 2028-02-29T23:59:58Z
            at: 1_835_481_598)
        check(
            headers,
            [
                ("x-amz-date", "20280229T235958Z"),
                (
                    "authorization",
                    authorization(
                        "20280229/eu-central-1", signed: "content-type;host;x-amz-date",
                        "caaac246f5592de1183019afb9e55de643d19897a2a7c7a20a48ff200a633c63")
                ),
            ])
    }

    /// botocore got the parameters decoded and made of them
    /// `Zeta=1&a=%2Fx%3Ay&a=1%2B1&a=x%20y&a-b=2&empty=&flag=&maxResults=10&name=%C3%BC~%2A`.
    @Test(arguments: [
        "maxResults=10&Zeta=1&flag&a-b=2&a=x%20y&empty=&a=%2fx:y&name=%c3%bc~*&a=1%2B1",
        "maxResults=10&Zeta=1&flag&a-b=2&a=x%20y&empty=&a=%2fx:y&name=%C3%BC%7E%2A&a=1+1&",
    ])
    func `the query is sorted and encoded as AWS does it`(query: String) {
        let headers = makeSigner().headers(
            method: "GET", host: "bedrock.us-east-1.amazonaws.com", path: "/inference-profiles",
            query: query, headers: [], body: [], at: Self.noon)
        check(
            headers,
            [
                ("x-amz-date", "20261121T120000Z"),
                (
                    "authorization",
                    authorization(
                        "20261121/us-east-1", signed: "host;x-amz-date",
                        "88075c6263c7366264a8461d54d6a9bb39e17955a041591f3f74b70327f705b0")
                ),
            ])
    }

    /// botocore made of them `x-amzn-bedrock-trace:ENABLED FULL` and `x-custom:a b,c d e`.
    @Test func `headers are sorted, and spaces in them count once`() {
        let headers = makeSigner().headers(
            method: "POST", host: Self.host, path: Self.path, query: "",
            headers: [
                ("X-Custom", "a  b"), ("X-Amzn-Bedrock-Trace", "  ENABLED   FULL\t "),
                ("Content-Type", "application/json"), ("x-custom", "c   d  e"),
            ], body: Self.body, at: Self.noon)
        check(
            headers,
            [
                ("x-amz-date", "20261121T120000Z"),
                (
                    "authorization",
                    authorization(
                        "20261121/us-east-1",
                        signed: "content-type;host;x-amz-date;x-amzn-bedrock-trace;x-custom",
                        "9bf27c3aeffe4c155055866938f9273509fb7799d80a4f9ed932c2ba1fcdff25")
                ),
            ])
    }

    @Test func `no description shows a secret`() {
        let signer = makeSigner(sessionToken: "SESSIONTOKEN")
        var dumped = ""
        dump(signer, to: &dumped)
        let texts = [
            "\(signer)", "\(signer.credentials)", String(reflecting: signer),
            String(reflecting: signer.credentials), "\([signer.credentials])", dumped,
        ]
        for text in texts {
            #expect(!text.contains(Self.secret) && !text.contains("SESSIONTOKEN"))
        }
        #expect("\(signer)".contains("AKIDEXAMPLE"))
    }
}
