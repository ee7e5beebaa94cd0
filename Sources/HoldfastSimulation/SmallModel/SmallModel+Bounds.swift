extension SmallModel {
    /// Part of every test run: about half a minute on two cores.
    public static let testBounds: [Bounds] = [
        bounds("one account, reordered messages") {
            $0.reportCountMax = 2
            $0.sharesRoom = false
            $0.recallEpochMax = 0
        },
        bounds("requests of different sizes") {
            $0.limit = 2
            $0.ceilings = [[1], [2]]
        },
        bounds("two accounts at once") {
            $0.accountCount = 2
            $0.ceilings = [[1, 1]]
            $0.grantedMax = 2
            $0.stateCountMax = 60_000
        },
        bounds("an edge crashes") {
            $0.edgeCrashCount = 1
            $0.hasGivingUp = true
        },
        bounds("a counter crashes") {
            $0.counterCrashCount = 1
            $0.recallEpochMax = 0
        },
        bounds("the limit is lowered") {
            $0.limit = 2
            $0.changedLimit = 1
            $0.recallEpochMax = 0
        },
        bounds("the limit is raised") {
            $0.changedLimit = 2
            $0.recallEpochMax = 0
        },
        bounds("idle slices go back, accounts are forgotten") {
            $0.hasIdling = true
            $0.hasForgetting = true
            // An account that was forgotten is met again.
            $0.requestsPerEdge = 2
            $0.requestsOfSecondEdge = 0
        },
        bounds("sessions end") {
            $0.hasClosing = true
            $0.recallEpochMax = 0
        },
        bounds("the next period begins") {
            $0.accountCount = 2
            $0.hasRollover = true
            $0.recallEpochMax = 0
        },
        bounds("a journal refunds, old copies do not") {
            $0.isJournaled = true
            $0.edgeCrashCount = 1
            $0.recallEpochMax = 0
        },
    ]

    /// Hours rather than minutes.
    public static let longBounds: [Bounds] = testBounds.map { bounds in
        var larger = bounds
        larger.reportCountMax += 1
        larger.sharesRoom = false
        larger.recallEpochMax = 2
        larger.grantedMax = 4
        larger.hasDraining = bounds.hasClosing
        return larger
    }

    private static func bounds(_ name: String, _ change: (inout Bounds) -> Void) -> Bounds {
        var bounds = Bounds(name: name)
        bounds.limit = 1
        bounds.reportCountMax = 1
        bounds.sharesRoom = true
        change(&bounds)
        return bounds
    }
}
