import ArgumentParser
import HoldfastConfig
import HoldfastTLS
import Logging

extension Node {
    /// What `node_tls` names; `nil` where nodes talk in plain text. Ends with one clear line when it
    /// cannot be used.
    ///
    /// - Parameter roles: what this process is. `serve` is both: its edge and its counter show each
    ///   other the same certificate.
    func credentials(_ roles: Set<NodeRole>) async throws -> NodeCredentials? {
        guard let settings = config.nodeTLS else { return nil }
        let files = NodeCredentials.Files(
            authority: settings.authority, certificate: settings.certificate, key: settings.key)
        let logger = logger
        let credentials: NodeCredentials
        do {
            credentials = try await NodeCredentials(
                files: files, cluster: config.cluster, roles: roles,
                onEvent: { event in
                    switch event {
                    case .reloaded(let certificates):
                        logger.notice(
                            "node certificates reloaded: new connections use them",
                            metadata: ["certificate": "\(certificates.summary)"])
                        for warning in certificates.warnings { logger.warning("\(warning)") }
                    case .notReloaded(let error):
                        logger.error(
                            "node certificates not reloaded; the old ones stay",
                            metadata: ["error": "\(error)"])
                    }
                })
        } catch {
            Terminal.note("error: node_tls: \(error)")
            throw ExitCode(Exit.failure)
        }
        let certificates = await credentials.current()
        for warning in certificates.warnings { logger.warning("\(warning)") }
        if let name = config.nodeName, name != certificates.identity.name {
            logger.warning(
                """
                other nodes know this one by its certificate's name, not by 'name': name it the \
                same in both
                """,
                metadata: ["name": "\(name)", "certificate": "\(certificates.identity.name)"])
        }
        return credentials
    }
}
