internal import Glibc
import NIOCore

/// Why an address could not be bound, in words for operators.
package enum ListenFailure {
    package static func reason(_ error: any Error) -> String {
        guard let error = error as? IOError else { return "\(error)" }
        switch error.errnoCode {
        case EADDRINUSE: return "another process listens there already"
        case EADDRNOTAVAIL: return "this machine does not have that address"
        case EACCES: return "not allowed; ports below 1024 need a privilege"
        default: return String(cString: strerror(error.errnoCode))
        }
    }
}
