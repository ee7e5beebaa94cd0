import CCurl

extension EgressFailure {
    /// libcurl's some hundred codes as the few outcomes that callers tell apart.
    ///
    /// - Parameter wasSent: whether libcurl had a connection and began to send the request.
    /// - Parameter detail: libcurl's own text. Used only where nothing was sent: it then names a
    ///   host, a port or a certificate, never anything of the request.
    init(code: CURLcode, wasSent: Bool, detail: String) {
        let kind = Self.kind(code, wasSent: wasSent)
        let general = String(cString: curl_easy_strerror(code))
        let message = wasSent || detail.isEmpty ? general : detail
        self.init(kind: kind, requestWasSent: wasSent, message: message)
    }

    private static func kind(_ code: CURLcode, wasSent: Bool) -> Kind {
        switch code {
        case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY:
            return .resolve
        case CURLE_OPERATION_TIMEDOUT:
            return wasSent ? .timeout : .timeoutBeforeSend
        case CURLE_COULDNT_CONNECT, CURLE_PROXY:
            return wasSent ? .reset : .connect
        case CURLE_SSL_CONNECT_ERROR, CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE,
            CURLE_SSL_CERTPROBLEM, CURLE_SSL_CIPHER, CURLE_SSL_ISSUER_ERROR,
            CURLE_SSL_INVALIDCERTSTATUS, CURLE_SSL_PINNEDPUBKEYNOTMATCH, CURLE_SSL_CLIENTCERT,
            CURLE_SSL_ENGINE_NOTFOUND, CURLE_SSL_ENGINE_SETFAILED, CURLE_SSL_ENGINE_INITFAILED,
            CURLE_SSL_CRL_BADFILE, CURLE_USE_SSL_FAILED:
            return .tls
        case CURLE_SEND_ERROR:
            return wasSent ? .sendFailed : .connect
        case CURLE_RECV_ERROR, CURLE_GOT_NOTHING, CURLE_PARTIAL_FILE, CURLE_HTTP2,
            CURLE_HTTP2_STREAM, CURLE_SEND_FAIL_REWIND:
            return wasSent ? .reset : .connect
        case CURLE_WEIRD_SERVER_REPLY, CURLE_BAD_CONTENT_ENCODING:
            return .badResponse
        case CURLE_UNSUPPORTED_PROTOCOL:
            // After the request was sent it means that the answer was not HTTP.
            return wasSent ? .badResponse : .other
        default:
            return .other
        }
    }
}
