public import HoldfastCore
public import HoldfastLedger

/// Which counters are there. For speed alone: edges that do not hear of one do without it.
extension PostgresStore {
    public func meet(
        _ node: CounterNode, within seconds: Int64
    ) throws(StoreError) -> [CounterNode] {
        var here = PostgresParameters()
        here.add(node.name)
        here.add(node.address)
        var age = PostgresParameters()
        age.add(seconds)
        let rows = try write([
            .init(statement: .meet, parameters: here), .init(statement: .nodes, parameters: age),
        ])[1]
        var nodes: [CounterNode] = []
        for row in 0..<rows.count {
            guard let name = rows.text(row, 0), let address = rows.text(row, 1) else {
                throw .corrupt("\(location.name): a counter's address cannot be read")
            }
            nodes.append(CounterNode(name: name, address: address))
        }
        return nodes
    }

    public func leave(_ node: CounterNode) throws(StoreError) {
        var parameters = PostgresParameters()
        parameters.add(node.name)
        _ = try write([.init(statement: .leave, parameters: parameters)])
    }
}
