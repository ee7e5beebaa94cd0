import Foundation
import Glibc

/// One thing that goes wrong, and how it is mended.
enum ChaosFault: Sendable {
    /// SIGKILL; mended by a start.
    case edgeKilled(Int)
    case counterKilled(Int)
    /// SIGSTOP and SIGCONT.
    case edgePaused(Int)
    case counterPaused(Int)
    /// SIGKILL to all processes of the server that writes; mended by a start.
    case primaryKilled
    case primaryPaused
    /// A fast stop; mended by a start.
    case primaryStopped
    case standbyKilled
    /// The primary is killed and the standby promoted; mended when the other one has become its
    /// standby, from a new copy. Until then no commit is acknowledged.
    case failover
    /// Between all edges and these counters.
    case edgeLinks(FaultyLink.Weather, counters: [Int])
    /// Between these counters and both servers of their store.
    case storeLinks(FaultyLink.Weather, counters: [Int])
    case diskFull

    var killsEdge: Bool {
        if case .edgeKilled = self { return true }
        return false
    }

    /// Whether the store must have failed for a counter, or the fault was none.
    var failsStore: Bool {
        switch self {
        case .primaryKilled, .primaryPaused, .primaryStopped, .failover, .diskFull: true
        // Which of the counters has something to write is up to the edges.
        case .storeLinks(.cut, let counters), .storeLinks(.blackHole, let counters):
            counters.count > 1
        case .edgeKilled, .counterKilled, .edgePaused, .counterPaused, .standbyKilled, .edgeLinks,
            .storeLinks:
            false
        }
    }

    /// Whether edges must have lost a counter.
    var losesCounter: Bool {
        switch self {
        case .counterKilled, .edgeLinks(.cut, _), .edgeLinks(.blackHole, _): true
        case .edgeKilled, .edgePaused, .counterPaused, .primaryKilled, .primaryPaused,
            .primaryStopped, .standbyKilled, .failover, .edgeLinks, .storeLinks, .diskFull:
            false
        }
    }

    /// The counters listen for a lease's lifetime before they grant again.
    var isFailover: Bool {
        if case .failover = self { return true }
        return false
    }
}

extension ChaosSite {
    func inject(_ fault: ChaosFault) async throws {
        switch fault {
        case .edgeKilled(let number): try await edges[number].process.killAndWait()
        case .counterKilled(let number): try await counters[number].process.killAndWait()
        case .edgePaused(let number): edges[number].process.send(SIGSTOP)
        case .counterPaused(let number): counters[number].process.send(SIGSTOP)
        case .primaryKilled: try await run("kill") { $0.writer }
        case .primaryPaused: try await run("pause") { $0.writer }
        case .primaryStopped: try await run("stop") { $0.writer }
        case .standbyKilled: try await run("kill") { $0.standby }
        case .failover:
            try await run("kill") { $0.writer }
            try await run("promote")
        case .edgeLinks(let weather, let numbers): try await set(weather, edgeLinks: numbers)
        case .storeLinks(let weather, let numbers): try await set(weather, storeLinks: numbers)
        case .diskFull: disk?.fill()
        }
    }

    func mend(_ fault: ChaosFault) async throws {
        switch fault {
        case .edgeKilled(let number): try await restartEdge(number)
        case .counterKilled(let number): try await restartCounter(number)
        case .edgePaused(let number): edges[number].process.send(SIGCONT)
        case .counterPaused(let number): counters[number].process.send(SIGCONT)
        case .primaryKilled, .primaryStopped: try await run("start") { $0.writer }
        case .primaryPaused: try await run("resume") { $0.writer }
        case .standbyKilled: try await run("start") { $0.standby }
        case .failover: try await run("rejoin")
        case .edgeLinks(_, let numbers): try await set(.clear, edgeLinks: numbers)
        case .storeLinks(_, let numbers): try await set(.clear, storeLinks: numbers)
        case .diskFull: disk?.free()
        }
    }

    /// - Parameter server: which one, where the verb takes one.
    private func run(
        _ verb: String, _ server: (@Sendable (PostgresServers) -> String)? = nil
    ) async throws {
        guard let postgres else { preconditionFailure("a fault of PostgreSQL without PostgreSQL") }
        try await offPool {
            if let server {
                try postgres.run(verb, server(PostgresServers(postgres)))
            } else {
                try postgres.run(verb)
            }
        }
    }

    private func set(_ weather: FaultyLink.Weather, edgeLinks numbers: [Int]) async throws {
        for number in numbers { try await counterPlaces[number].link.set(weather) }
    }

    private func set(_ weather: FaultyLink.Weather, storeLinks numbers: [Int]) async throws {
        for number in numbers {
            for link in counterPlaces[number].storeLinks { try await link.set(weather) }
        }
    }
}
