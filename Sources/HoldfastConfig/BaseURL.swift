/// Checks a provider's base URL and drops the slash at its end, so that paths can be appended.
///
/// Strict instead of a general URL parser: what is refused here (a query, a user name, an escape in
/// the host) would only be misread later by something that adds a path to it.
func parseBaseURL(_ text: String) throws(ValueError) -> String {
    let example = "write it as https://api.example.com/v1"
    let scheme = text.hasPrefix("https://") ? "https://" : "http://"
    guard text.hasPrefix(scheme) else {
        throw ValueError("is not an http:// or https:// URL", suggestion: example)
    }
    guard text.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
        throw ValueError("has a character that a URL cannot have", suggestion: example)
    }
    guard !text.contains("?"), !text.contains("#") else {
        throw ValueError("has a query or fragment", suggestion: example)
    }
    let rest = text.dropFirst(scheme.count)
    let authority = rest.prefix { $0 != "/" }
    guard !authority.contains("@") else {
        throw ValueError("has a user name", suggestion: "give the key as api_key")
    }
    // An address always has a port here, so that the same parser can check both forms.
    let hasPort = authority.hasSuffix("]") == false && authority.contains(":")
    do {
        let address = try Address(hasPort ? String(authority) : "\(authority):443")
        guard address.port != 0 else { throw ValueError("has port 0") }
    } catch {
        throw ValueError("has no valid host and port", suggestion: example)
    }
    var url = text
    while url.hasSuffix("/") { url.removeLast() }
    return url
}

func isPlainHTTPBeyondThisHost(_ url: String) -> Bool {
    guard url.hasPrefix("http://") else { return false }
    let authority = url.dropFirst("http://".count).prefix { $0 != "/" }
    let host = authority.hasPrefix("[") ? authority : authority.prefix { $0 != ":" }
    return !(host == "localhost" || host.hasPrefix("127.") || host.hasPrefix("[::1]"))
}
