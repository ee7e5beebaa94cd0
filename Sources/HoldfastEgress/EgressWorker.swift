import CCurl
import Glibc
import Synchronization

/// What a worker is told from other threads.
enum EgressCommand: Sendable {
    case start(EgressOrder)
    case cancel(EgressTransfer)
}

struct EgressOrder: Sendable {
    let transfer: EgressTransfer
    let request: EgressRequest
    let bufferByteCountMax: Int
    let onEvent: @Sendable (EgressEvent) -> Void
}

struct EgressConfiguration: Sendable {
    let connectionsPerHostMax: Int
    let caFile: String?
    let isHTTP2Enabled: Bool
}

/// Gauges that every worker writes and anybody reads.
final class EgressCounts: Sendable {
    /// Easy handles that exist, in use or pooled.
    let handleCount = Atomic<Int>(0)
    /// Transfers that libcurl works on.
    let transferCount = Atomic<Int>(0)
}

/// The mailbox of one egress thread.
///
/// Many threads write, one reads. What to do is decided under the lock, the system call that wakes
/// the reader is made outside it, and only for the first command since the reader last looked.
final class EgressWorker: Sendable {
    private struct Mailbox {
        var commands: [EgressCommand] = []
        /// `nil` once the worker is told to stop: no wake-up can then reach a handle that is gone.
        var multi: MultiHandle?
        var isStopped: Bool { multi == nil }
    }

    private let mailbox: Mutex<Mailbox>
    private let configuration: EgressConfiguration
    private let counts: EgressCounts

    init(configuration: EgressConfiguration, counts: EgressCounts) throws(EgressFailure) {
        let multi = try MultiHandle()
        // Idle connections that are kept: without a bound of our own, libcurl keeps four times as
        // many as there are transfers at the moment, and closes the rest after each burst.
        try multi.set(CURLMOPT_MAXCONNECTS, 1_024)
        try multi.set(CURLMOPT_MAX_HOST_CONNECTIONS, configuration.connectionsPerHostMax)
        mailbox = Mutex(Mailbox(multi: multi))
        self.configuration = configuration
        self.counts = counts
    }

    /// - Returns: `false` when the worker has been told to stop; the command is then dropped.
    func send(_ command: EgressCommand) -> Bool {
        let (isAccepted, sleeper) = mailbox.withLock { mailbox -> (Bool, MultiHandle?) in
            guard let multi = mailbox.multi else { return (false, nil) }
            mailbox.commands.append(command)
            return (true, mailbox.commands.count == 1 ? multi : nil)
        }
        sleeper?.wakeUp()
        return isAccepted
    }

    func stop() {
        let multi = mailbox.withLock { mailbox in
            let multi = mailbox.multi
            mailbox.multi = nil
            return multi
        }
        multi?.wakeUp()
    }

    /// The body of the thread; returns after `stop`, with every accepted transfer ended.
    func run() {
        guard let multi = mailbox.withLock({ $0.multi }) else { return failWaiting() }
        let loop = EgressLoop(multi: multi, configuration: configuration, counts: counts)
        while true {
            let (commands, isStopped) = takeCommands()
            loop.apply(commands)
            guard !isStopped else { break }
            loop.turn()
        }
        loop.failAll((.cancelled, "the process is shutting down"))
    }

    /// Out of the mailbox for good: a command refers to its transfer, and that to this worker.
    private func takeCommands() -> (commands: [EgressCommand], isStopped: Bool) {
        mailbox.withLock { mailbox in
            let commands = mailbox.commands
            mailbox.commands = []
            return (commands, mailbox.isStopped)
        }
    }

    /// Stopped before the thread began: what was accepted still gets its one last event.
    private func failWaiting() {
        let (commands, _) = takeCommands()
        for case .start(let order) in commands { order.onEvent(.failed(.shutDown)) }
    }
}

extension EgressFailure {
    static let shutDown = EgressFailure(
        kind: .cancelled, requestWasSent: false, message: "the process is shutting down")
}

/// The thread of one worker.
struct EgressThread: Sendable {
    private let thread: pthread_t

    init(_ worker: EgressWorker) throws(EgressFailure) {
        var thread = pthread_t()
        // The new thread takes over this reference; nobody does if there is no new thread.
        let argument = Unmanaged.passRetained(worker)
        let code = pthread_create(&thread, nil, runWorker, argument.toOpaque())
        guard code == 0 else {
            argument.release()
            throw .setup("cannot start an egress thread (errno \(code)); check the thread limit")
        }
        self.thread = thread
    }

    var isCurrent: Bool { pthread_equal(thread, pthread_self()) != 0 }

    func join() {
        let code = pthread_join(thread, nil)
        precondition(code == 0, "pthread_join failed: \(code)")
    }

    /// Nobody will join it.
    func detach() {
        let code = pthread_detach(thread)
        precondition(code == 0, "pthread_detach failed: \(code)")
    }
}

private func runWorker(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    // A peer that closed first must be an error of one write, not the end of the process.
    var signals = sigset_t()
    sigemptyset(&signals)
    sigaddset(&signals, SIGPIPE)
    let code = pthread_sigmask(SIG_BLOCK, &signals, nil)
    precondition(code == 0, "pthread_sigmask failed: \(code)")
    guard let argument else { preconditionFailure("a thread without its worker") }
    Unmanaged<EgressWorker>.fromOpaque(argument).takeRetainedValue().run()
    return nil
}
