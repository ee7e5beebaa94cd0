// swift-tools-version: 6.2
import PackageDescription

// What bytes from outside reach, under libFuzzer: `dev/fuzz` builds and runs it. A package of its
// own, because every module of it is built with the fuzzer's instrumentation. The sources are
// symbolic links: the decoders of stored accounts and of the byte stream are not public.

let protobuf: Target.Dependency = .product(name: "SwiftProtobuf", package: "swift-protobuf")

let policy: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]

let package = Package(
    name: "holdfast-fuzz",
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
    ],
    targets: [
        .target(name: "HoldfastCore", swiftSettings: policy),
        .target(name: "HoldfastLedger", dependencies: ["HoldfastCore"], swiftSettings: policy),
        .target(
            name: "HoldfastWire", dependencies: ["HoldfastCore", protobuf], swiftSettings: policy),
        .executableTarget(
            name: "fuzz",
            dependencies: [
                "HoldfastCore", "HoldfastLedger", "HoldfastWire",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
            ],
            swiftSettings: policy),
    ]
)
