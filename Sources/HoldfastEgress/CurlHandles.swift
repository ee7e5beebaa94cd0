import CCurl
import Synchronization

/// Owns one `CURLM`.
///
/// Proof of Sendable: `curl_multi_wakeup` is the one call that libcurl allows from any thread
/// while another uses the handle, and `wakeUp` is the only method that other threads call. They
/// hold a reference while they do, so `deinit` runs when nobody can be in a call any more.
final class MultiHandle: @unchecked Sendable {
    let pointer: UnsafeMutableRawPointer

    init() throws(EgressFailure) {
        guard let pointer = curl_multi_init() else {
            throw .setup("libcurl has no memory for a multi handle")
        }
        self.pointer = pointer
    }

    deinit {
        // The loop has removed every easy handle; this closes the idle connections.
        curl_multi_cleanup(pointer)
    }

    func set(_ option: CURLMoption, _ value: Int) throws(EgressFailure) {
        let code = c_holdfast_curl_multi_set_long(pointer, option, value)
        guard code == CURLM_OK else {
            throw .setup("this libcurl refuses multi option \(option.rawValue)")
        }
    }

    func wakeUp() {
        let code = curl_multi_wakeup(pointer)
        precondition(code == CURLM_OK, "curl_multi_wakeup failed: \(code.rawValue)")
    }
}

/// Owns one `CURL` and the buffer for its error texts. Used by one thread, and pooled there.
final class EasyHandle {
    let pointer: UnsafeMutableRawPointer
    private let errorText: UnsafeMutablePointer<CChar>
    private let counts: EgressCounts

    init(counts: EgressCounts) throws(EgressFailure) {
        guard let pointer = curl_easy_init() else {
            throw .setup("libcurl has no memory for an easy handle")
        }
        self.pointer = pointer
        self.counts = counts
        errorText = .allocate(capacity: Int(CURL_ERROR_SIZE))
        errorText.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
        counts.handleCount.wrappingAdd(1, ordering: .relaxed)
    }

    deinit {
        // The handle first: it may still write into the buffer.
        curl_easy_cleanup(pointer)
        errorText.deallocate()
        counts.handleCount.wrappingSubtract(1, ordering: .relaxed)
    }

    /// Forgets options and callbacks, so that nothing of the last transfer can be reached. The
    /// connections belong to the multi handle and stay.
    func reset() {
        curl_easy_reset(pointer)
    }

    /// What libcurl said about the last failure; empty if nothing.
    var errorMessage: String { String(cString: errorText) }

    func attachErrorText() throws(EgressFailure) {
        errorText[0] = 0
        try check(c_holdfast_curl_set_error_buffer(pointer, errorText), CURLOPT_ERRORBUFFER)
    }

    func set(_ option: CURLoption, _ value: Int) throws(EgressFailure) {
        try check(c_holdfast_curl_set_long(pointer, option, value), option)
    }

    func set(_ option: CURLoption, _ value: String) throws(EgressFailure) {
        try check(c_holdfast_curl_set_string(pointer, option, value), option)
    }

    /// libcurl's default for a string option.
    func clear(_ option: CURLoption) throws(EgressFailure) {
        try check(c_holdfast_curl_set_string(pointer, option, nil), option)
    }

    func check(_ code: CURLcode, _ option: CURLoption) throws(EgressFailure) {
        guard code == CURLE_OK else {
            throw .setup("this libcurl refuses option \(option.rawValue) (code \(code.rawValue))")
        }
    }
}

/// Owns one `curl_slist`. Must outlive the transfer it is set on.
final class HeaderList {
    private(set) var first: UnsafeMutablePointer<curl_slist>?

    init(_ lines: [String]) throws(EgressFailure) {
        for line in lines {
            guard let list = curl_slist_append(first, line) else {
                curl_slist_free_all(first)
                first = nil
                throw .setup("libcurl has no memory for a header list")
            }
            first = list
        }
    }

    deinit {
        curl_slist_free_all(first)
    }
}

extension EgressFailure {
    /// A failure of this process, before anything was sent.
    static func setup(_ message: String) -> EgressFailure {
        EgressFailure(kind: .other, requestWasSent: false, message: message)
    }
}
