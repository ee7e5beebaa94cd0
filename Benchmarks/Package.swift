// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "holdfast-benchmarks",
    dependencies: [.package(name: "holdfast", path: "..")],
    targets: [
        .executableTarget(
            name: "decision",
            dependencies: [.product(name: "HoldfastEngines", package: "holdfast")],
            swiftSettings: [
                .swiftLanguageMode(.v6),
                .enableUpcomingFeature("ExistentialAny"),
                .enableUpcomingFeature("InternalImportsByDefault"),
                .enableUpcomingFeature("MemberImportVisibility"),
                .treatAllWarnings(as: .error),
            ])
    ]
)
