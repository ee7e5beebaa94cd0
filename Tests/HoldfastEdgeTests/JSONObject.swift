import Foundation

struct NotAnObject: Error {}

/// Parsed by somebody else's parser.
func object(_ bytes: [UInt8]) throws -> [String: Any] {
    guard let object = try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any]
    else { throw NotAnObject() }
    return object
}
