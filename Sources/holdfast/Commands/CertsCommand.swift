import ArgumentParser
import Foundation
import HoldfastTLS

/// The certificates of `node_tls`, for clusters that have no other authority.
struct CertsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "certs",
        abstract: "Certificates by which edges and counters know each other.",
        discussion: """
            First for the whole cluster, then for a node that joins it:
              holdfast certs init --cluster prod --counter c1 --counter c2 --edge e1
              holdfast certs issue --edge e2

            A certificate of another authority does as well: it needs the URI
            spiffe://CLUSTER/holdfast/ROLE/NAME as an alternative name, with ROLE edge or counter.
            """,
        subcommands: [Init.self, Issue.self, Show.self])
}

/// The nodes to issue for.
struct CertsNodes: ParsableArguments {
    @Option(help: "A name of a counter; may be repeated.")
    var counter: [String] = []

    @Option(help: "A name of an edge; may be repeated.")
    var edge: [String] = []

    @Option(help: "A name of a node that is both, for 'holdfast serve'; may be repeated.")
    var node: [String] = []

    @Option(help: "How long the certificates of nodes are valid.")
    var days = 365

    var all: [(name: String, roles: Set<NodeRole>)] {
        counter.map { ($0, [.counter]) } + edge.map { ($0, [.edge]) }
            + node.map { ($0, [.counter, .edge]) }
    }

    func validate() throws {
        // The authority's own end comes first.
        guard (1..<CertsFiles.authorityDays).contains(days) else {
            throw ValidationError("--days: between 1 and \(CertsFiles.authorityDays - 1)")
        }
        guard !all.isEmpty else {
            throw ValidationError("name the nodes, with --counter NAME, --edge NAME or --node NAME")
        }
        var seen: Set<String> = ["ca"]
        for (name, _) in all {
            guard NodeIdentity.isName(name), !name.hasPrefix(".") else {
                throw ValidationError(
                    "'\(name)' is no name for a node: use letters, digits, '.', '_' and '-'")
            }
            guard seen.insert(name).inserted else {
                throw ValidationError(
                    name == "ca"
                        ? "'ca' is the authority's name: choose another one for the node"
                        : "two nodes are called '\(name)'; for one that is both use --node")
            }
        }
    }
}

extension CertsCommand {
    struct Init: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes an authority for a cluster, and certificates for its nodes.")

        @Option(help: "The directory to write to; made when it is not there.")
        var dir = "certs"

        @Option(help: "The name of the cluster, 'cluster' in the configuration.")
        var cluster = "holdfast"

        @OptionGroup var nodes: CertsNodes

        func validate() throws {
            guard NodeIdentity.isName(cluster) else {
                throw ValidationError(
                    "--cluster: '\(cluster)' is no name: use letters, digits, '.', '_' and '-'")
            }
        }

        func run() throws {
            let files = CertsFiles(directory: dir)
            try openOrExplain {
                try files.requireNew(["ca"] + nodes.all.map(\.name))
                let (authority, issued) = try CertificateAuthority.make(
                    cluster: cluster, days: CertsFiles.authorityDays)
                try files.makeDirectory()
                try files.write(issued, as: "ca")
                try files.issue(nodes, authority)
            }
            Terminal.say(
                """

                Keep \(files.path("ca.key")) secret and away from the nodes: whoever has it can
                make nodes. It is needed again for 'holdfast certs issue' only.
                """)
            files.explain(nodes, cluster: cluster)
        }
    }

    struct Issue: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes certificates for more nodes of a cluster.",
            discussion: """
                To replace a node's certificate, move its old files away first. Running nodes read
                new files by themselves.
                """)

        @Option(help: "The directory with ca.crt and ca.key, and where to write to.")
        var dir = "certs"

        @Option(help: "The name of the cluster, where ca.crt does not say it.")
        var cluster: String?

        @OptionGroup var nodes: CertsNodes

        func run() throws {
            let files = CertsFiles(directory: dir)
            let authority = try openOrExplain {
                try files.requireNew(nodes.all.map(\.name))
                let authority = try CertificateAuthority(
                    certificate: files.path("ca.crt"), key: files.path("ca.key"),
                    cluster: cluster)
                try files.issue(nodes, authority)
                return authority
            }
            files.explain(nodes, cluster: authority.cluster)
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows who the certificates in files are for.")

        @Argument(help: "PEM files.")
        var files: [String]

        func run() throws {
            var table = TextTable("FILE", "ROLE", "NAME", "CLUSTER", "VALID FROM", "VALID UNTIL")
            var problems: [String] = []
            try openOrExplain {
                for file in files {
                    for facts in try CertificateFacts.read(file) {
                        let row = facts.row
                        table.add(
                            file, row.role, row.name, row.cluster, facts.notValidBefore.text,
                            facts.notValidAfter.text)
                        problems += facts.problems.map { "\(file): the certificate \($0)" }
                    }
                }
            }
            table.print()
            for problem in problems { Terminal.note("warning: \(problem)") }
        }
    }
}

extension CertificateFacts {
    fileprivate var row: (role: String, name: String, cluster: String) {
        switch kind {
        case .node(let identity): (identity.roleText, identity.name, identity.cluster)
        case .authority(let cluster): ("authority", subject, cluster ?? "?")
        case .other: ("?", subject, "?")
        }
    }

    fileprivate var problems: [CertificateProblem] {
        var problems: [CertificateProblem] = []
        if case .other(let problem) = kind { problems.append(problem) }
        if notValidAfter < Date() { problems.append(.expired(notValidAfter)) }
        if notValidBefore > Date() { problems.append(.notYetValid(notValidBefore)) }
        return problems
    }
}
