// Vault as a server for the tests, built from its published modules.
//
// Vault's own go.mod replaces `sdk` and `api` by directories that its module does not carry, and
// their published versions move on without waiting for it. These three fit together: try any
// change with `.ci/vault/build`.
module groundwork/vault

go 1.25.3

require (
	github.com/hashicorp/vault v1.21.2
	github.com/hashicorp/vault/sdk v0.20.0
)

// As Vault's own go.mod has them: replacements of a dependency do not count.
replace (
	github.com/99designs/keyring => github.com/Jeffail/keyring v1.2.3
	github.com/ma314smith/signedxml v1.1.1 => github.com/moov-io/signedxml v1.1.1
)
