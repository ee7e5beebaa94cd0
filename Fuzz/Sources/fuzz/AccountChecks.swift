import HoldfastCore
import HoldfastLedger

private let key = Array("each-user|usd|day|20778|acme".utf8)
private let version: UInt64 = 0x0102_0304_0506_0708
private let checksumByteCount = 4

/// What decodes is exactly what was encoded, within bounds, and under its own key and version only.
func checkAccount(_ bytes: [UInt8]) {
    let account: StoredAccount
    do {
        account = try AccountRecord.decode(bytes, key: key, version: version)
    } catch {
        return
    }
    for line in account.lines {
        for amount in [line.granted, line.released, line.spent, line.overrun, line.unlocked] {
            precondition(amount.rawValue <= Limits.amountMax, "a large amount")
        }
    }
    precondition(
        AccountRecord.encode(account, key: key, version: version) == bytes,
        "other bytes than were stored")
    precondition(isRefused(bytes, key: key, version: version ^ 1), "an old version is taken")
    precondition(
        isRefused(bytes, key: key.dropLast() + [0], version: version), "another key is taken")
    // The counter takes what contradicts itself for damaged; from the rest it makes a ledger, which
    // must not trap and must say the same.
    guard account.lines.allSatisfy(isConsistent) else { return }
    let ledger = AccountLedger(account)
    precondition(ledger.exposure >= account.base, "less than what is booked")
    var meant = account
    // A line without anything in it says nothing, and is not written again.
    meant.lines.removeAll(where: isBlank)
    precondition(ledger.stored == meant, "another account after loading")
}

private func isBlank(_ line: StoredAccount.Line) -> Bool {
    [line.granted, line.released, line.spent, line.overrun, line.unlocked].allSatisfy {
        $0 == .zero
    }
}

private func isConsistent(_ line: StoredAccount.Line) -> Bool {
    line.released <= line.granted
        && line.released.saturatingAdd(line.spent) <= line.granted.saturatingAdd(line.overrun)
}

private func isRefused(_ bytes: [UInt8], key: some Sequence<UInt8>, version: UInt64) -> Bool {
    do {
        _ = try AccountRecord.decode(bytes, key: Array(key), version: version)
        return false
    } catch {
        return true
    }
}

/// With the checksum that the bytes before it should have.
func sealed(_ bytes: [UInt8]) -> [UInt8] {
    guard bytes.count >= checksumByteCount else { return bytes }
    let body = bytes.dropLast(checksumByteCount)
    var crc = CRC32C()
    crc.update(key)
    crc.update((0..<8).map { UInt8(truncatingIfNeeded: version >> ($0 * 8)) })
    crc.update(body)
    return body + (0..<4).map { UInt8(truncatingIfNeeded: crc.value >> ($0 * 8)) }
}

/// Accounts as a store has them, for the seeds.
enum AccountSamples {
    static var all: [[UInt8]] {
        [0, 1, 2, 5].map { count in
            let lines = (0..<UInt64(count)).map { index in
                StoredAccount.Line(
                    session: SessionID(1 << 32 + index), granted: Amount(9_000 << index),
                    released: Amount(1_000), spent: Amount(index),
                    overrun: Amount(Limits.amountMax), unlocked: Amount(7))
            }
            let account = StoredAccount(
                base: Amount(30_000_000_000), isFrozen: count == 1, lines: lines)
            return AccountRecord.encode(account, key: key, version: version)
        }
    }
}
