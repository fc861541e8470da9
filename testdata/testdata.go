// Package testdata embeds the small models and texts that the demo runs on.
// See README.md for where they come from.
package testdata

import "embed"

// Files holds beyonder-mini/moe, a Mixtral checkpoint as Hugging Face lays it
// out, and texts, held-out text of five domains.
//
//go:embed beyonder-mini texts/*.txt
var Files embed.FS
