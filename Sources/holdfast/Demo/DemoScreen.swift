import Foundation
import Glibc
import HoldfastCore

/// What the demo prints: a bar that moves on a terminal, plain lines elsewhere.
struct DemoScreen: Sendable {
    private static let width = 40

    private let isSilent: Bool
    private let limit: NanoUSD
    private let isTerminal: Bool
    private let hasColour: Bool

    init(isSilent: Bool, limit: NanoUSD) {
        self.isSilent = isSilent
        self.limit = limit
        isTerminal = isatty(STDOUT_FILENO) == 1
        hasColour = isTerminal && ProcessInfo.processInfo.environment["NO_COLOR"] == nil
    }

    func opening(port: Int, clients: Int) {
        say("Holdfast demo: a fake provider, a counter, an edge on http://127.0.0.1:\(port)")
        say("Cap 'demo-daily': $\(limit.dollars) per day for tenant=acme. \(clients) clients send…")
        say("")
    }

    func progress(billed: NanoUSD, requests: Int) {
        guard !isSilent else { return }
        let percent = Int(billed.rawValue * 100 / max(1, limit.rawValue))
        let filled = min(Self.width, percent * Self.width / 100)
        let bar =
            String(repeating: "█", count: filled)
            + String(repeating: "·", count: Self.width - filled)
        let colour = percent < 60 ? "32" : percent < 90 ? "33" : "31"
        let text =
            "\(paint(bar, colour)) \(percent)%  provider billed $\(billed.dollars) of "
            + "$\(limit.dollars)  \(requests) requests"
        if isTerminal {
            write("\r\u{1B}[2K" + text)
        } else {
            write(text + "\n")
        }
    }

    func closing(_ result: DemoResult) {
        if isTerminal { say("") }
        say("")
        say("The cap refuses. What the client sees:")
        say("")
        for line in result.refusal.split(separator: "\n", omittingEmptySubsequences: false) {
            say("    \(line)")
        }
        say("")
        say("provider billed $\(result.billed.dollars) of $\(result.limit.dollars) cap")
    }

    func invitation(port: Int, providerPort: Int) {
        say(
            """

            Everything stays up. Try it yourself, in another terminal:

              curl -i http://127.0.0.1:\(port)/v1/chat/completions \\
                -H 'Authorization: Bearer \(DemoStage.key)' -H 'Content-Type: application/json' \\
                -d '{"model":"\(DemoStage.model)","max_tokens":50,"messages":[{"role":"user","content":"Hi"}]}'

              curl http://127.0.0.1:\(providerPort)/bill

            With the OpenAI SDK:

              from openai import OpenAI
              client = OpenAI(base_url="http://127.0.0.1:\(port)/v1", api_key="\(DemoStage.key)")
              client.chat.completions.create(model="\(DemoStage.model)", max_tokens=50,
                                             messages=[{"role": "user", "content": "Hi"}])

            With the Anthropic SDK: base_url="http://127.0.0.1:\(port)", the same key.

            Ctrl-C ends the demo and removes its store.
            """)
    }

    private func paint(_ text: String, _ colour: String) -> String {
        hasColour ? "\u{1B}[\(colour)m\(text)\u{1B}[0m" : text
    }

    private func say(_ line: String) {
        if !isSilent { write(line + "\n") }
    }

    private func write(_ text: String) {
        FileHandle.standardOutput.write(Data(text.utf8))
    }
}
