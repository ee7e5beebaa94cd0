import HoldfastCore
import NIOCore
import NIOHTTP1

/// Phase 1: who is calling. The secret is looked up by its HMAC; the counter is asked for keys that
/// this edge has not met.
extension Exchange {
    /// Every dialect's way to send a key. Claude Code sends two of them at once.
    private static let bareHeaders = ["x-api-key", "api-key", "x-goog-api-key"]

    /// Headers that carry the caller's key and must not reach the provider.
    static let credentialHeaders: Set<String> = Set(
        bareHeaders + [
            "authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256",
        ])

    func authenticate() {
        guard !context.isDraining else { return refuse(.draining) }
        let candidates = Self.candidates(head.headers)
        guard !candidates.isEmpty else { return refuse(.noKey) }
        lookup(candidates[...])
    }

    private func lookup(_ candidates: ArraySlice<Substring>) {
        guard let secret = candidates.first else { return refuse(.unknownKey) }
        let me = NIOLoopBound(self, eventLoop: loop)
        let loop = loop
        let rest = candidates.dropFirst()
        context.keys.lookup(secret) { answer in
            if loop.inEventLoop {
                me.value.take(answer, rest)
            } else {
                loop.execute { me.value.take(answer, rest) }
            }
        }
    }

    private func take(_ answer: KeyDirectory.Answer, _ rest: ArraySlice<Substring>) {
        guard downstream != nil else { return end() }
        switch answer {
        case .known(let key): authenticated(key)
        case .unknown: lookup(rest)
        case .unavailable:
            refuse(.counterUnavailable("the key is not known here and no counter answers"))
        }
    }

    /// Compares bytes and looks at lengths first: comparing text takes quadratic time in a run of
    /// combining marks, and nobody has shown a key yet.
    private static func candidates(_ headers: HTTPHeaders) -> [Substring] {
        var found: [Substring] = []
        for value in headers["authorization"] {
            let parts = value.utf8.split(separator: UInt8(ascii: " "), maxSplits: 1)
            if parts.count == 2, parts[0].count == 6,
                Substring(parts[0]).lowercased() == "bearer"
            {
                found.append(Substring(parts[1]))
            }
        }
        for name in bareHeaders {
            for value in headers[name] where !value.isEmpty {
                let isNew = !found.contains { $0.utf8.elementsEqual(value.utf8) }
                if isNew { found.append(value[...]) }
            }
        }
        // Each candidate costs a look-up; nobody sends more than two on purpose.
        return Array(found.prefix(2))
    }
}
