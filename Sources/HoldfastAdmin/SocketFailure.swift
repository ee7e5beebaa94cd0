internal import Glibc
import NIOCore
import NIOPosix

/// Why an address could not be bound or reached, in words for operators.
package enum SocketFailure {
    package static func reason(_ error: any Error) -> String {
        if let error = error as? NIOConnectionError, let first = error.connectionErrors.first {
            return reason(first.error)
        }
        guard let error = error as? IOError else { return "\(error)" }
        switch error.errnoCode {
        case EADDRINUSE: return "another process listens there already"
        case EADDRNOTAVAIL: return "this machine does not have that address"
        case EACCES: return "not allowed; ports below 1024 need a privilege"
        case ECONNREFUSED: return "nobody listens there"
        default: return String(cString: strerror(error.errnoCode))
        }
    }
}
