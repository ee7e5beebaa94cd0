// swift-tools-version: 6.2
import PackageDescription

// One place for every dependency: docs/adr/0002-dependencies.md has the reason for each.
let dependencies: [Package.Dependency] = [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-asn1", from: "1.7.4"),
    .package(url: "https://github.com/apple/swift-certificates", from: "1.21.1"),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
    .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    .package(url: "https://github.com/apple/swift-nio-http2", from: "1.46.0"),
    .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
    .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
    .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
]

let argumentParser: Target.Dependency = .product(
    name: "ArgumentParser", package: "swift-argument-parser")
let asn1: Target.Dependency = .product(name: "SwiftASN1", package: "swift-asn1")
let certificates: Target.Dependency = .product(name: "X509", package: "swift-certificates")
let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")
let grdb: Target.Dependency = .product(name: "GRDB", package: "GRDB.swift")
let grdbSQLite: Target.Dependency = .product(name: "GRDBSQLite", package: "GRDB.swift")
let httpTypes: Target.Dependency = .product(name: "HTTPTypes", package: "swift-http-types")
let hummingbird: Target.Dependency = .product(name: "Hummingbird", package: "hummingbird")
let lifecycle: Target.Dependency = .product(
    name: "ServiceLifecycle", package: "swift-service-lifecycle")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let nioCore: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let nioHTTP1: Target.Dependency = .product(name: "NIOHTTP1", package: "swift-nio")
let nioHPACK: Target.Dependency = .product(name: "NIOHPACK", package: "swift-nio-http2")
let nioHTTP2: Target.Dependency = .product(name: "NIOHTTP2", package: "swift-nio-http2")
let nioSSL: Target.Dependency = .product(name: "NIOSSL", package: "swift-nio-ssl")
let nioTLS: Target.Dependency = .product(name: "NIOTLS", package: "swift-nio")
let nioPosix: Target.Dependency = .product(name: "NIOPosix", package: "swift-nio")
let nioEmbedded: Target.Dependency = .product(name: "NIOEmbedded", package: "swift-nio")
let protobuf: Target.Dependency = .product(name: "SwiftProtobuf", package: "swift-protobuf")
let yams: Target.Dependency = .product(name: "Yams", package: "Yams")

// MARK: - Pure: no I/O, no clock, no randomness, no Foundation.

let pure: [Target] = [
    .target(name: "HoldfastCore"),
    .target(name: "HoldfastLedger", dependencies: ["HoldfastCore"]),
    .target(
        name: "HoldfastProviders", dependencies: ["HoldfastCore"],
        resources: [.embedInCode("Prices/prices.tsv")]),
    .target(name: "HoldfastWire", dependencies: ["HoldfastCore", protobuf]),
    .target(name: "HoldfastSimulation", dependencies: ["HoldfastCore", "HoldfastLedger"]),
]

// MARK: - Interop: the only targets that may import C.

let interop: [Target] = [
    .target(name: "CCurl", linkerSettings: [.linkedLibrary("curl")]),
    .target(name: "HoldfastEgress", dependencies: ["CCurl", nioCore]),
    .systemLibrary(name: "CPostgres", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
    .target(
        name: "HoldfastStore",
        dependencies: ["HoldfastCore", "HoldfastLedger", "CPostgres", grdb, grdbSQLite]),
]

// MARK: - Shells.

let shells: [Target] = [
    .target(
        name: "HoldfastTransport",
        dependencies: ["HoldfastCore", "HoldfastWire", crypto, nioCore]),
    .target(
        name: "HoldfastTLS",
        dependencies: [asn1, certificates, crypto, nioCore, nioSSL, nioTLS]),
    .target(name: "HoldfastConfig", dependencies: ["HoldfastCore", "HoldfastProviders", yams]),
    .target(
        name: "HoldfastAdmin",
        dependencies: [hummingbird, httpTypes, logging, nioCore, nioPosix, lifecycle]),
    .target(
        name: "HoldfastCounter",
        dependencies: [
            "HoldfastCore", "HoldfastLedger", "HoldfastProviders", "HoldfastStore", "HoldfastWire",
            "HoldfastAdmin", "HoldfastTransport", "HoldfastTLS", crypto, logging, nioCore, nioPosix,
            lifecycle,
        ]),
    .target(
        name: "HoldfastEdge",
        dependencies: [
            "HoldfastCore", "HoldfastLedger", "HoldfastProviders", "HoldfastWire", "HoldfastEgress",
            "HoldfastAdmin", "HoldfastTransport", "HoldfastTLS", crypto, logging, nioCore, nioHPACK,
            nioHTTP1, nioHTTP2, nioPosix, nioTLS, lifecycle,
        ]),
    .target(
        name: "HoldfastTestKit",
        dependencies: [
            "HoldfastCore", hummingbird, httpTypes, logging, nioCore, nioPosix, lifecycle,
        ]),
    .executableTarget(
        name: "holdfast",
        dependencies: [
            "HoldfastCore", "HoldfastLedger", "HoldfastProviders", "HoldfastWire",
            "HoldfastConfig", "HoldfastStore", "HoldfastCounter", "HoldfastEdge",
            "HoldfastEgress", "HoldfastAdmin", "HoldfastSimulation", "HoldfastTestKit",
            "HoldfastTLS", logging, lifecycle, nioCore, nioPosix, argumentParser,
            .product(name: "UnixSignals", package: "swift-service-lifecycle"),
        ]),
    // `holdfast simulate` alone: builds in a minute, in release, without the rest.
    .executableTarget(name: "simulate", dependencies: ["HoldfastSimulation", argumentParser]),
]

// MARK: - Tests: one folder per target.

let tests: [Target] = [
    .testTarget(name: "HoldfastCoreTests", dependencies: ["HoldfastCore"]),
    .testTarget(
        name: "HoldfastSimulationTests",
        dependencies: ["HoldfastSimulation", "HoldfastLedger", "HoldfastCore"]),
    .testTarget(name: "HoldfastLedgerTests", dependencies: ["HoldfastLedger", "HoldfastCore"]),
    .testTarget(
        name: "HoldfastProvidersTests", dependencies: ["HoldfastProviders", "HoldfastCore"],
        resources: [.copy("Fixtures")]),
    .testTarget(
        name: "HoldfastWireTests",
        dependencies: ["HoldfastWire", "HoldfastCore", "HoldfastLedger", protobuf]),
    .testTarget(name: "HoldfastEgressTests", dependencies: ["HoldfastEgress", nioCore, nioPosix]),
    .testTarget(
        name: "HoldfastStoreTests", dependencies: ["HoldfastStore", "HoldfastLedger", grdb]),
    .testTarget(
        name: "HoldfastTLSTests",
        dependencies: ["HoldfastTLS", nioCore, nioPosix, nioSSL, certificates, asn1, crypto]),
    .testTarget(
        name: "HoldfastConfigTests",
        dependencies: ["HoldfastConfig", "HoldfastCore", "HoldfastProviders"]),
    .testTarget(
        name: "HoldfastCounterTests",
        dependencies: [
            "HoldfastCounter", "HoldfastStore", "HoldfastWire", "HoldfastLedger", "HoldfastCore",
            "HoldfastAdmin", "HoldfastTransport", logging, nioCore, nioPosix, lifecycle,
        ]),
    .testTarget(
        name: "HoldfastEdgeTests",
        dependencies: [
            "HoldfastEdge", "HoldfastProviders", "HoldfastLedger", "HoldfastCore", "HoldfastWire",
            "HoldfastEgress", "HoldfastAdmin", "HoldfastTransport", "HoldfastTLS", nioCore,
            nioHPACK,
            nioHTTP1, nioHTTP2, nioPosix, nioEmbedded, logging,
        ]),
    .testTarget(
        name: "IntegrationTests",
        dependencies: [
            "holdfast", "HoldfastEgress", "HoldfastTestKit", asn1, certificates, crypto, nioCore,
            nioPosix,
        ]),
    .testTarget(name: "TidyTests"),
]

let package = Package(
    name: "holdfast",
    products: [
        .executable(name: "holdfast", targets: ["holdfast"]),
        // For Benchmarks/, a package of its own.
        .library(name: "HoldfastEngines", targets: ["HoldfastCore", "HoldfastLedger"]),
    ],
    dependencies: dependencies,
    targets: pure + interop + shells + tests
)

// MARK: - One policy for every Swift target, so that none can quietly opt out.

let policy: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]

for target in package.targets where !target.name.hasPrefix("C") {
    target.swiftSettings = (target.swiftSettings ?? []) + policy
}
