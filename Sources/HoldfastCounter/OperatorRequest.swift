import Foundation
import HoldfastCore
import HoldfastLedger

/// Why the body of an operation was not understood.
struct OperatorRequestError: Error {
    let message: String
}

/// `{"account": "KEY", "reason": "TEXT"}`
struct UnfreezeRequest {
    let account: AccountKey
    let reason: String

    init(_ body: [UInt8]) throws(OperatorRequestError) {
        let fields = try OperatorFields(body, names: ["account", "reason"])
        reason = try fields.reason()
        account = try OperatorFields.account(fields.text("account"))
    }
}

/// `{"session": "4294967297", "reason": "TEXT", "accounts": ["KEY", …]}`; without `accounts`, all
/// of open periods.
struct RefundRequest {
    let session: SessionID
    let accounts: [AccountKey]?
    let reason: String

    init(_ body: [UInt8]) throws(OperatorRequestError) {
        let fields = try OperatorFields(body, names: ["session", "accounts", "reason"])
        reason = try fields.reason()
        guard let number = UInt64(try fields.text("session")) else {
            throw OperatorRequestError(message: "'session' must be the number of a session")
        }
        session = SessionID(number)
        accounts = try fields.accounts("accounts")
    }
}

/// A flat JSON object of texts and lists of texts. Names that are not known are refused: a misspelt
/// `accounts` must not refund all.
private struct OperatorFields {
    /// UTF-8 bytes of a reason. It is kept for ever.
    static let reasonByteCountMax = 500

    private enum Value: Decodable {
        case text(String)
        case list([String])

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            do {
                self = .text(try container.decode(String.self))
            } catch DecodingError.typeMismatch {
                self = .list(try container.decode([String].self))
            }
        }
    }

    private let values: [String: Value]

    init(_ body: [UInt8], names: [String]) throws(OperatorRequestError) {
        do {
            values = try JSONDecoder().decode([String: Value].self, from: Data(body))
        } catch {
            throw OperatorRequestError(
                message: "the body must be a JSON object of texts: "
                    + names.joined(separator: ", "))
        }
        for name in values.keys.sorted() where !names.contains(name) {
            throw OperatorRequestError(
                message: "'\(name)' is not known here; there are "
                    + names.joined(separator: ", "))
        }
    }

    func text(_ name: String) throws(OperatorRequestError) -> String {
        guard case .text(let text) = values[name] else {
            throw OperatorRequestError(message: "'\(name)' must be given, as a text")
        }
        return text
    }

    func reason() throws(OperatorRequestError) -> String {
        let reason = try text("reason").trimmingCharacters(in: .whitespacesAndNewlines)
        guard (1...Self.reasonByteCountMax).contains(reason.utf8.count) else {
            throw OperatorRequestError(
                message: "'reason' must have between 1 and \(Self.reasonByteCountMax) bytes")
        }
        guard reason.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
            throw OperatorRequestError(message: "'reason' must be one line of text")
        }
        return reason
    }

    /// `nil` when there is none. Each once, in the order given.
    func accounts(_ name: String) throws(OperatorRequestError) -> [AccountKey]? {
        guard let value = values[name] else { return nil }
        guard case .list(let texts) = value, !texts.isEmpty else {
            throw OperatorRequestError(message: "'\(name)' must be a list of accounts")
        }
        var keys: [AccountKey] = []
        var known: Set<AccountKey> = []
        for text in texts {
            let key = try Self.account(text)
            if known.insert(key).inserted { keys.append(key) }
        }
        return keys
    }

    static func account(_ text: String) throws(OperatorRequestError) -> AccountKey {
        guard let key = AccountKey(text: text) else {
            throw OperatorRequestError(
                message: "'\(text)' is not the key of an account; it is like "
                    + "`acme-daily|usd|day|20778`, see `holdfast spend --json`")
        }
        return key
    }
}
