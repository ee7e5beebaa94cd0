internal import HoldfastCore

/// Prices as a row lists them. `nil` is unknown, which is never free.
struct ListedRates: Hashable, Sendable {
    var input: TokenPrice
    var cacheRead: TokenPrice?
    var cacheWrite: TokenPrice?
    var cacheWriteLong: TokenPrice?
    var output: TokenPrice

    /// What is unknown is filled in on the dear side:
    /// * a cache read costs as much as fresh input;
    /// * a short write costs the dearer of input and the long write;
    /// * a long write costs twice the short one, the largest ratio that any provider publishes, and
    ///   as much as input where no write has a price.
    var completed: TokenRates {
        var long = input
        if let cacheWrite { long = max(input, cacheWrite.doubled) }
        return TokenRates(
            input: input, cacheRead: cacheRead ?? input,
            cacheWrite: cacheWrite ?? max(input, cacheWriteLong ?? input),
            cacheWriteLong: cacheWriteLong ?? long, output: output)
    }
}

/// What one service tier of one row charges, with nothing left unknown.
struct Tariff: Hashable, Sendable {
    /// Rates of a whole request: `long` where its prompt is above the row's threshold.
    struct ByLength: Hashable, Sendable {
        let short: TokenRates
        let long: TokenRates?
    }

    /// `nil` for standard.
    let name: String?
    let text: ByLength
    /// `nil` when the row has no audio price: audio tokens then have no known price at all.
    let audio: ByLength?
}

extension TokenPrice {
    /// Largest price that a book may hold: $1,000,000 per million tokens. Five products of such
    /// prices with the largest token count fit in 128 bits.
    static let bookMax = TokenPrice(nanoUSDPerMillionTokens: 1_000_000_000_000_000)

    /// Cannot overflow: prices are at most `bookMax`.
    fileprivate var doubled: TokenPrice {
        TokenPrice(nanoUSDPerMillionTokens: nanoUSDPerMillionTokens * 2)
    }

    /// This price in the proportion `numerator` to `denominator`, rounded up. `nil` above
    /// twice `bookMax`, which leaves room for `doubled`.
    fileprivate func scaled(_ numerator: TokenPrice, to denominator: TokenPrice) -> TokenPrice? {
        precondition(denominator > .zero, "a price of zero is refused where it enters")
        let divisor = UInt128(denominator.nanoUSDPerMillionTokens)
        let product =
            UInt128(nanoUSDPerMillionTokens) * UInt128(numerator.nanoUSDPerMillionTokens)
        let quotient = (product + divisor - 1) / divisor
        guard quotient <= UInt128(TokenPrice.bookMax.nanoUSDPerMillionTokens) * 2 else {
            return nil
        }
        return TokenPrice(nanoUSDPerMillionTokens: UInt64(quotient))
    }
}

extension TokenRates {
    /// Every bucket in the proportion that its bucket in `numerator` has to the one in
    /// `denominator`.
    fileprivate func scaled(_ numerator: TokenRates, to denominator: TokenRates) -> TokenRates? {
        guard let input = input.scaled(numerator.input, to: denominator.input),
            let cacheRead = cacheRead.scaled(numerator.cacheRead, to: denominator.cacheRead),
            let cacheWrite = cacheWrite.scaled(numerator.cacheWrite, to: denominator.cacheWrite),
            let cacheWriteLong = cacheWriteLong.scaled(
                numerator.cacheWriteLong, to: denominator.cacheWriteLong),
            let output = output.scaled(numerator.output, to: denominator.output)
        else { return nil }
        return TokenRates(
            input: input, cacheRead: cacheRead, cacheWrite: cacheWrite,
            cacheWriteLong: cacheWriteLong, output: output)
    }
}

/// Turns the listed prices of a row into tariffs.
struct TariffBuilder {
    let standard: ListedRates
    let long: ListedRates?
    let audioInput: TokenPrice?
    let audioOutput: TokenPrice?

    /// `nil` when a price that follows from the listed ones is out of range.
    func tariff(named name: String?, listed: ListedRates) -> Tariff? {
        let short = listed.completed
        guard let longContext = longContext(short, isStandard: name == nil) else { return nil }
        let text = Tariff.ByLength(short: short, long: longContext.rates)
        guard let audioInput else { return Tariff(name: name, text: text, audio: nil) }
        guard let audioShort = raised(short, toAudioInput: audioInput) else { return nil }
        var audioLong: TokenRates?
        if let longRates = text.long {
            guard let raisedLong = raised(longRates, toAudioInput: audioInput) else { return nil }
            audioLong = raisedLong
        }
        return Tariff(
            name: name, text: text, audio: Tariff.ByLength(short: audioShort, long: audioLong))
    }

    private struct LongContext {
        let rates: TokenRates?
    }

    /// Long-context prices are listed for the standard tier only. Providers either raise a tier by
    /// the same factor or serve the request as standard, so another tier takes the dearest of its
    /// short price, the standard long price, and its short price raised by the standard factor.
    private func longContext(_ short: TokenRates, isStandard: Bool) -> LongContext? {
        guard let long else { return LongContext(rates: nil) }
        let standardLong = long.completed
        guard !isStandard else { return LongContext(rates: standardLong) }
        guard let raised = short.scaled(standardLong, to: standard.completed) else { return nil }
        return LongContext(rates: raised.dearest(short).dearest(standardLong))
    }

    /// Audio and text tokens arrive in one count, so a request with audio pays the audio price for
    /// every prompt token. Audio is listed for the standard tier; others keep the proportion.
    private func raised(_ rates: TokenRates, toAudioInput audio: TokenPrice) -> TokenRates? {
        guard let input = audio.scaled(rates.input, to: standard.input),
            let output = (audioOutput ?? standard.output).scaled(
                rates.output, to: standard.output)
        else { return nil }
        return rates.dearest(
            TokenRates(
                input: input, cacheRead: input, cacheWrite: input, cacheWriteLong: input,
                output: output))
    }
}
