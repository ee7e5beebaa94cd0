import Foundation

/// Why a file could not be read, for people.
struct FileReadError: Error, CustomStringConvertible {
    let description: String
}

/// Reads a text file that is expected to be small. Works for pipes, which have no size.
func readSmallFile(_ path: String) throws -> String {
    let byteCountMax = 4 << 20
    var bytes = Data()
    do {
        let handle = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
        while let part = try handle.read(upToCount: 64 << 10), !part.isEmpty {
            bytes.append(part)
            guard bytes.count <= byteCountMax else {
                throw FileReadError(description: "it is larger than \(byteCountMax >> 20) MiB")
            }
        }
        try handle.close()
    } catch let error as CocoaError {
        switch error.code {
        case .fileNoSuchFile, .fileReadNoSuchFile:
            throw FileReadError(description: "there is no such file")
        case .fileReadNoPermission:
            throw FileReadError(description: "permission denied")
        default:
            throw FileReadError(description: error.localizedDescription)
        }
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
        throw FileReadError(description: "it is not UTF-8 text")
    }
    return text
}
