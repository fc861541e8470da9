package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/klauspost/cpuid/v2"
	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/gguf/files"
	"github.com/ggufkit/ggufkit/quant/isa"
)

// version is set by release builds; others go by what the Go tool recorded.
var version = ""

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:   "version",
		Usage:  "version, Go version, and the CPU features in use",
		Action: action(showVersion),
	}
}

type versionReport struct {
	Version  string   `json:"version"`
	Go       string   `json:"go"`
	Platform string   `json:"platform"`
	ISA      string   `json:"isa"`
	CPU      string   `json:"cpu"`
	Features []string `json:"features"`
}

// programVersion returns the version, of a development build with the commit.
func programVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && version == "" {
		return info.Main.Version
	}
	return version
}

// buildVersion tells this build from all others of other sources: by the version, or, if that does not say, as where it is (devel) or
// the sources were changed, by the hash of the program.
func buildVersion(ctx context.Context) (string, error) {
	version := programVersion()
	if version != "" && version != "(devel)" && !strings.HasSuffix(version, "+dirty") {
		return version, nil
	}
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	f, err := files.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum, err := files.SHA256(ctx, f)
	return version + " " + sum, err
}

func showVersion(c *call) error {
	if _, err := c.arguments(); err != nil {
		return err
	}
	report := versionReport{
		Version:  programVersion(),
		Go:       runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
		ISA:      isa.Current().String(),
		CPU:      cpuid.CPU.BrandName,
		Features: isa.Features(),
	}
	if c.json {
		return printJSON(c, report)
	}
	fmt.Fprintf(c.stdout, "ggufkit %s, %s, %s\n", report.Version, report.Go, report.Platform)
	fmt.Fprintf(c.stdout, "%s: %s kernels in use\n", report.CPU, report.ISA)
	fmt.Fprintf(c.stdout, "CPU features: %s\n", strings.Join(report.Features, " "))
	return nil
}
