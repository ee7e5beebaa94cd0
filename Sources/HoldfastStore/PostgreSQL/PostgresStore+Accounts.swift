public import HoldfastCore
public import HoldfastLedger

extension PostgresStore {
    public func load(_ keys: [AccountKey]) throws(StoreError) -> LoadResult {
        var parameters = PostgresParameters()
        let texts = keys.map { $0.textBytes }
        parameters.add(texts)
        let command = PostgresConnection.Command(statement: .load, parameters: parameters)
        let rows = try readKept(command)
        var result = LoadResult()
        for row in 0..<rows.count {
            guard let number = rows.integer(row, 0), let version = rows.integer(row, 1),
                version > 0,
                let value = rows.bytes(row, 2)
            else { throw .corrupt("\(location.name): a row of an account has no version") }
            let index = Int(number) - 1
            do throws(AccountRecord.Damage) {
                result.found[keys[index]] = try Self.decode(value, texts[index], version)
            } catch {
                result.damaged[keys[index]] = "\(error)"
            }
        }
        return result
    }

    /// What is read after an unknown outcome may be in this server only. A write that is kept has
    /// everything behind it that was there before.
    private func readKept(
        _ command: PostgresConnection.Command
    ) throws(StoreError) -> PostgresRows {
        guard let doubt = openDoubt else {
            let rows = try read(command, isGenerationBound: true)[0]
            // On a connection that had to be made anew, it was read from a server that may be.
            if openDoubt == nil { return rows }
            return try readKept(command)
        }
        let rows = try write(
            [command, .init(statement: .barrier)], isGenerationBound: true)
        settle(doubt)
        return rows[0]
    }

    public func scan(
        _ selection: AccountSelection, limit: Int, after: AccountKey?
    ) throws(StoreError) -> [ScannedAccount] {
        precondition(limit > 0, "a scan for no accounts")
        var parameters = PostgresParameters()
        parameters.add(after?.text ?? "")
        parameters.add(Int64(limit))
        var statement = PostgresStatement.scan
        if case .period(let cap, let unit, let period, let periodID) = selection {
            let first = AccountKey(
                cap: cap, unit: unit, period: period, periodID: periodID, values: [])
            // A longer key goes on with "|", whose successor is "}".
            for end in ["", "|", "}"] { parameters.add(first.text + end) }
            statement = .scanPeriod
        }
        let rows = try read(.init(statement: statement, parameters: parameters))[0]
        var found: [ScannedAccount] = []
        for row in 0..<rows.count { found.append(try scanned(rows, row)) }
        return found
    }

    private func scanned(_ rows: PostgresRows, _ row: Int) throws(StoreError) -> ScannedAccount {
        let bytes = rows.bytes(row, 0) ?? []
        let text = String(decoding: bytes, as: UTF8.self)
        guard String(validating: bytes, as: UTF8.self) != nil, let key = AccountKey(text: text)
        else { throw .corrupt("\(location.name): `\(text)` is not the key of an account") }
        do throws(AccountRecord.Damage) {
            guard let version = rows.integer(row, 1), version > 0, let value = rows.bytes(row, 2)
            else { throw .wrongColumns }
            return ScannedAccount(key: key, stored: try Self.decode(value, bytes, version))
        } catch {
            throw .corrupt("\(location.name): account `\(text)` cannot be read: \(error)")
        }
    }

    private static func decode(
        _ value: [UInt8], _ key: [UInt8], _ version: Int64
    ) throws(AccountRecord.Damage) -> VersionedAccount {
        let version = UInt64(version)
        return VersionedAccount(
            version: version,
            account: try AccountRecord.decode(value, key: key, version: version))
    }
}
