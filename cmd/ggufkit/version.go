package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/klauspost/cpuid/v2"
	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/quant/isa"
)

// version is set by release builds; others go by what the Go tool recorded.
var version = ""

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:   "version",
		Usage:  "version, Go version, and the CPU features in use",
		Action: showVersion,
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

func showVersion(c *cli.Context) error {
	if _, err := arguments(c); err != nil {
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
	if c.Bool("json") {
		return printJSON(c, report)
	}
	fmt.Fprintf(c.App.Writer, "ggufkit %s, %s, %s\n", report.Version, report.Go, report.Platform)
	fmt.Fprintf(c.App.Writer, "%s: %s kernels in use\n", report.CPU, report.ISA)
	fmt.Fprintf(c.App.Writer, "CPU features: %s\n", strings.Join(report.Features, " "))
	return nil
}
