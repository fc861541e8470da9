package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/testdata/reference"
)

// fullReport is as much as a page has to show: ten candidates, five texts, and
// routers in many layers.
func fullReport(layers int) *driftReport {
	names := []string{"Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "Q4_K_S", "IQ4_XS", "Q3_K_M", "IQ3_XXS", "Q2_K"}
	r := &driftReport{
		Model: "mixtral", Ctx: 512, Compute: "int8", Imatrix: "calibration.gguf",
		Base: driftBase{Type: "BF16", Bytes: 48 << 30, BPW: 16, PPL: 4.2, TokensPerSecond: 24},
	}
	for _, file := range []string{"chat.txt", "code.txt", "math.txt", "story.txt", "wiki.txt"} {
		r.Texts = append(r.Texts, driftText{File: file, SHA256: strings.Repeat("0123", 16), Chunks: 20, ScoredTokens: 5100})
		r.Base.ByText = append(r.Base.ByText, driftBaseText{File: file, PPL: 4.2})
	}
	for i, name := range names {
		kld := 0.0005 * math.Pow(1.9, float64(i))
		c := driftCandidate{
			Name: name, Type: name, Bytes: int64(26-2*i) << 30, BPW: 8.5 - 0.65*float64(i), TokensPerSecond: 31,
			driftMeasures: driftMeasures{
				PPL: 4.2 * (1 + kld), PPLRatio: 1 + kld, PPLRatioLow: known(1 + kld*0.8), PPLRatioHigh: known(1 + kld*1.2),
				KLD: kld, KLDLow: known(kld * 0.9), KLDHigh: known(kld * 1.1), KLDP50: kld / 2, KLDP90: 2 * kld, KLDP95: 3 * kld, KLDP99: 9 * kld, KLDP999: 30 * kld, KLDMax: 80 * kld,
				SameTop: 1 - 0.02*float64(i+1), RMSDeltaP: 0.01 * float64(i+1), Embedding: 0.01 * float64(i+1),
			},
		}
		router := 1 - 0.01*float64(i+1)
		c.Router = &router
		for l := range layers {
			same, first := router-0.001*float64(l), router
			layer := driftLayer{Layer: l, Hidden: c.Embedding * (1 + 0.1*float64(l)), SameExperts: &same, SameFirstExpert: &first}
			if l == 0 { // dense, as the first layers of DeepSeek's are
				layer.SameExperts, layer.SameFirstExpert = nil, nil
			}
			c.Layers = append(c.Layers, layer)
		}
		for t, text := range r.Texts {
			measures := c.driftMeasures
			measures.KLD *= 1 + 0.3*float64(t)
			c.ByText = append(c.ByText, driftTextResult{text.File, measures, []float64{0.9 * measures.KLD, 1.1 * measures.KLD}})
		}
		r.Candidates = append(r.Candidates, c)
	}
	return r
}

// twentyReport has twenty file types with the sizes and divergences that they have of the demo's
// model, quantized with an importance matrix.
func twentyReport() *driftReport {
	r := fullReport(4)
	r.Base.Bytes, r.Base.BPW = 18206464, 16.01
	template := r.Candidates[3]
	r.Candidates = nil
	for _, t := range []struct {
		name  string
		bytes int64
		kld   float64
	}{
		{"Q8_0", 9728384, 0.00031},
		{"Q6_K", 7538048, 0.00085},
		{"Q5_1", 6975872, 0.00185},
		{"Q5_0", 6476160, 0.00230},
		{"Q5_K_M", 6619776, 0.00185},
		{"Q5_K_S", 6476160, 0.00193},
		{"Q4_1", 5976448, 0.00585},
		{"Q4_0", 5476736, 0.00755},
		{"Q4_K_M", 5755520, 0.00497},
		{"Q4_K_S", 5484928, 0.00524},
		{"IQ4_NL", 5484928, 0.00568},
		{"IQ4_XS", 5237120, 0.00588},
		{"Q3_K_L", 5040000, 0.01635},
		{"Q3_K_M", 4740992, 0.01702},
		{"Q3_K_S", 4414848, 0.02264},
		{"IQ3_M", 4458368, 0.01963},
		{"IQ3_S", 4423552, 0.01965},
		{"IQ3_XXS", 3953536, 0.03595},
		{"Q2_K", 3857792, 0.07229},
		{"IQ2_M", 3560320, 0.04544},
	} {
		c := template
		c.Name, c.Type, c.Bytes, c.KLD, c.KLDLow, c.KLDHigh = t.name, t.name, t.bytes, t.kld, known(0.93*t.kld), known(1.08*t.kld)
		c.PPLRatio, c.PPLRatioLow, c.PPLRatioHigh = 1+t.kld, known(1+0.7*t.kld), known(1+1.3*t.kld)
		c.Layers, c.ByText = slices.Clone(c.Layers), slices.Clone(c.ByText)
		for l := range c.Layers {
			c.Layers[l].Hidden = math.Sqrt(t.kld) * (1 + 0.1*float64(l))
		}
		for i := range c.ByText {
			c.ByText[i].KLD = t.kld * (0.8 + 0.2*float64(i))
			c.ByText[i].KLDWindows = []float64{0.9 * t.kld, 1.1 * t.kld}
		}
		r.Candidates = append(r.Candidates, c)
	}
	r.Provenance = &provenance{
		Version: "v1.2.3", Date: time.Date(2026, 11, 28, 15, 4, 5, 0, time.UTC), Command: "ggufkit drift moe.gguf -f chat.txt", CPU: "A CPU", ISA: "avx2",
		Model: provenanceModel{Name: "A mixture", File: "moe.gguf", Architecture: "llama", Parameters: 10_600_000, FileSHA256: strings.Repeat("89ab", 16)},
	}
	return r
}

// sparseReport is as little as a page has to show, of a dense model, with names
// that are far too long.
func sparseReport() *driftReport {
	r := fullReport(2)
	r.Model = "models/" + strings.Repeat("a-model-with-a-long-name-", 4) + ".gguf"
	r.Texts, r.Candidates, r.Imatrix = r.Texts[:1], r.Candidates[4:6], ""
	r.Base.ByText = r.Base.ByText[:1]
	for i := range r.Candidates {
		c := &r.Candidates[i]
		c.Name = strings.Repeat("mixtral-8x7b-instruct-", 3) + c.Name
		c.Router, c.ByText = nil, c.ByText[:1]
		for l := range c.Layers {
			c.Layers[l].SameExperts, c.Layers[l].SameFirstExpert = nil, nil
		}
	}
	// One with no drift at all, one with hardly any that is sure to be one.
	r.Candidates[0].driftMeasures = driftMeasures{PPL: r.Base.PPL, PPLRatio: 1, SameTop: 1, Layers: make([]driftLayer, 2)}
	r.Candidates[1].KLDLow, r.Candidates[1].KLDHigh = known(0), known(5*r.Candidates[1].KLD)
	return r
}

// crowdedReport has candidates that hardly differ.
func crowdedReport() *driftReport {
	r := fullReport(4)
	for i := range r.Candidates {
		c := &r.Candidates[i]
		c.BPW, c.KLD, c.Bytes = 4.5+0.01*float64(i), 0.01+0.0001*float64(i%3), 14<<30+int64(i)
	}
	return r
}

// choiceOf is a report with a choice.
func choiceOf(r *driftReport) *driftReport {
	fit := int64(24e9)
	r.choice = &choiceReport{
		FitBytes: &fit, fitReport: fitReport{Contexts: []fitReportContext{{Ctx: 8192}}}, Summary: []string{"Q6_K is the closest to the original of what fits.", "Q5_K_M, the runner-up, is further from it."},
		Terms: []string{"It takes 20.0 GiB of memory of 22.4 GiB: the file, a cache for 8192 tokens, and buffers."},
	}
	for i := range r.Candidates {
		c := &r.Candidates[i]
		considered := consideredReport{driftCandidate: c, Name: c.Name, Bytes: c.Bytes, BPW: c.BPW, NeededBytes: c.Bytes + 2<<30, Contexts: []consideredContext{{Ctx: 8192, NeededBytes: c.Bytes + 2<<30, Fits: i > 0, Flags: "-c 8192 -ngl 33"}}, Chosen: i == 1, Reason: "KL 0.02371 > 0.00095 of Q6_K, but the difference may be chance"}
		if i == 0 || i > 6 {
			considered.driftCandidate, considered.Reason = nil, "not measured: smaller than IQ4_XS, which is further from the original than Q6_K"
		}
		r.choice.Considered = append(r.choice.Considered, considered)
	}
	r.choice.Chosen = r.choice.Considered[1]
	return r
}

// pages writes the pages to look at, and returns where.
func pages(t *testing.T) []string {
	dir := t.TempDir()
	var paths []string
	for name, r := range map[string]*driftReport{"full": fullReport(32), "sparse": sparseReport(), "crowded": crowdedReport(), "choice": choiceOf(fullReport(4)), "twenty": twentyReport(), "choice of twenty": choiceOf(twentyReport())} {
		page, err := r.page()
		require.NoError(t, err)
		paths = append(paths, filepath.Join(dir, name+".html"))
		require.NoError(t, os.WriteFile(paths[len(paths)-1], []byte(page), 0o600))
	}
	text := filepath.Join("..", "..", "testdata", "texts", "math.txt")
	moe := reference.MoE(t)
	for name, args := range map[string][]string{
		"drift":  {"drift", moe, "--types", "Q8_0,Q4_K_M"},
		"choose": {"choose", moe, "--fit", "20MB"},
		"doctor": {"moe", "doctor", moe},
	} {
		paths = append(paths, filepath.Join(dir, name+".html"))
		args = append(args, "-f", text, "--ctx", "64", "--chunks", "2", "--quiet", "--html", paths[len(paths)-1])
		require.Equal(t, exitDone, run(append([]string{"ggufkit"}, args...), io.Discard, os.Stderr))
	}
	return paths
}

// TestPagesNeedNothingElse reads pages without a browser.
func TestPagesNeedNothingElse(t *testing.T) {
	for _, path := range pages(t) {
		page, err := os.Open(path)
		require.NoError(t, err)
		defer page.Close()
		require.Empty(t, externals(t, page), filepath.Base(path))
	}
	// The check itself.
	require.Equal(t, []string{"link href=style.css", "id a again", "img src=//example.org/a.png", "svg without a label", "script"}, externals(t, strings.NewReader(
		`<!doctype html><link rel="icon" href="data:,"><link href="style.css"><p id="a"></p><p id="a"></p><img src="//example.org/a.png"><svg></svg><script></script>`)))
}

// externals returns what a page needs that is not in it, and what it lacks to be
// read out.
func externals(t *testing.T, page io.Reader) []string {
	var found []string
	ids := make(map[string]bool)
	d := xml.NewDecoder(page)
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return found
		}
		require.NoError(t, err)
		switch e := token.(type) {
		case xml.StartElement:
			named := false
			for _, a := range e.Attr {
				switch a.Name.Local {
				case "src", "srcset", "href", "action", "data", "poster":
					if !strings.HasPrefix(a.Value, "data:") {
						found = append(found, fmt.Sprintf("%s %s=%s", e.Name.Local, a.Name.Local, a.Value))
					}
				case "id":
					if ids[a.Value] {
						found = append(found, fmt.Sprintf("id %s again", a.Value))
					}
					ids[a.Value] = true
				case "aria-label", "aria-hidden":
					named = a.Value != ""
				}
			}
			switch e.Name.Local {
			case "svg":
				if !named {
					found = append(found, "svg without a label")
				}
			case "script", "iframe", "object", "embed":
				found = append(found, e.Name.Local)
			}
		case xml.CharData:
			for _, word := range []string{"url(", "@import"} {
				if strings.Contains(string(e), word) {
					found = append(found, word)
				}
			}
		}
	}
}

// TestPagesInABrowser looks at pages with Chromium, as wide as a desk and as a
// phone has it.
func TestPagesInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long where races are looked for")
	}
	browser := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			browser = path
			break
		}
	}
	if browser == "" {
		t.Skip("there is no chromium, chromium-browser or google-chrome in PATH")
	}
	if _, log, err := load(t, browser, "about:blank"); err != nil {
		t.Skipf("%s does not run here: %v\n%s", browser, err, log)
	}
	require.Empty(t, look(t, browser, pages(t)...))

	t.Run("the check itself", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "bad.html")
		require.NoError(t, os.WriteFile(path, []byte(`<!doctype html><meta charset="utf-8"><img src="http://example.org/a.png">
<div style="width: 1000px">wide</div><table><tr><th style="min-width: 380px">candidate</th><th>size</th></tr></table><script>nothing.here()</script>
<svg role="img" viewBox="0 0 100 100" width="100"><text x="0" y="50">one</text><text x="5" y="50">two</text><text x="95" y="90">three</text><text x="5" y="20">four</text><circle class="dot" cx="15" cy="16" r="4"/></svg>`), 0o600))
		found := strings.Join(look(t, browser, path), "\n")
		require.Contains(t, found, "390: wider than the window: 10")
		require.NotContains(t, found, "1400: wider")
		require.Contains(t, found, "390: size is out of sight")
		require.NotContains(t, found, "1400: size")
		require.Contains(t, found, "1400: asks for http://example.org/a.png")
		require.Contains(t, found, `1400: "one" covers "two"`)
		require.Contains(t, found, `1400: "three" is cut off`)
		require.Contains(t, found, `1400: "four" is on a dot`)
		require.Contains(t, found, "nothing is not defined")
	})
}

// lookScript gathers what is wrong with the pages in the frames.
const lookScript = `
const found = document.querySelector("pre");
for (const frame of document.querySelectorAll("iframe")) {
  const say = what => found.textContent += frame.src.split("/").pop() + " at " + frame.width + ": " + what + "\n";
  const page = frame.contentDocument;
  if (!page.body.textContent.trim()) say("is empty");
  const width = page.documentElement.scrollWidth;
  if (width > frame.clientWidth) say("wider than the window: " + width);
  for (const entry of frame.contentWindow.performance.getEntriesByType("resource"))
    if (!entry.name.startsWith("data:")) say("asks for " + entry.name);
  for (const column of page.querySelectorAll("th"))
    if (["size", "KL divergence"].includes(column.textContent) && column.getBoundingClientRect().right > frame.clientWidth)
      say(column.textContent + " is out of sight");
  for (const chart of page.querySelectorAll("svg[role=img]")) {
    const inside = chart.getBoundingClientRect();
    if (!inside.width) continue; // the one for another width
    const texts = [...chart.querySelectorAll("text")].map(t => ({text: JSON.stringify(t.textContent), box: t.getBoundingClientRect()}));
    const dots = [...chart.querySelectorAll("circle.dot")].map(d => d.getBoundingClientRect());
    const radius = inside.width / chart.viewBox.baseVal.width * 4;
    texts.forEach(({text, box}, i) => {
      for (const dot of dots) {
        const x = (dot.left + dot.right) / 2, y = (dot.top + dot.bottom) / 2;
        if (box.left < x + radius && x - radius < box.right && box.top + 3 < y + radius && y - radius < box.bottom - 3) say(text + " is on a dot");
      }
      if (box.left < inside.left - 1 || box.right > inside.right + 1 || box.top < inside.top - 1 || box.bottom > inside.bottom + 1)
        say(text + " is cut off");
      for (const other of texts.slice(i + 1)) {
        const b = other.box, line = 3; // above and below the letters
        if (box.left < b.right && b.left < box.right && box.top + line < b.bottom - line && b.top + line < box.bottom - line)
          say(text + " covers " + other.text);
      }
    });
  }
}
found.textContent += "looked at everything";`

// look returns what is wrong with pages in a browser that finds no other host.
func look(t *testing.T, browser string, paths ...string) []string {
	t.Helper()
	var page strings.Builder
	page.WriteString("<!doctype html><meta charset=\"utf-8\"><pre></pre>\n")
	for _, path := range paths {
		for _, width := range []int{1400, 390} {
			fmt.Fprintf(&page, "<iframe src=\"file://%s\" width=\"%d\" height=\"900\" style=\"border: 0\"></iframe>\n", filepath.ToSlash(path), width)
		}
	}
	fmt.Fprintf(&page, "<script>window.onload = () => { %s }</script>\n", lookScript)
	frames := filepath.Join(t.TempDir(), "frames.html")
	require.NoError(t, os.WriteFile(frames, []byte(page.String()), 0o600))
	dom, log, err := load(t, browser, "file://"+filepath.ToSlash(frames))
	require.NoError(t, err, log)
	_, report, _ := strings.Cut(dom, "<pre>")
	report, _, _ = strings.Cut(report, "</pre>")
	lines := strings.Split(report, "\n")
	require.Equal(t, "looked at everything", lines[len(lines)-1], log)
	lines = lines[:len(lines)-1]
	for _, line := range strings.Split(log, "\n") {
		if strings.Contains(line, "CONSOLE") {
			lines = append(lines, line)
		}
	}
	return lines
}

// load returns what a page is in a browser that finds no other host, and its log.
func load(t *testing.T, browser, url string) (dom, log string, err error) {
	t.Helper()
	profile, err := os.MkdirTemp("", "ggufkit-page-test-")
	require.NoError(t, err)
	defer func() { _ = os.RemoveAll(profile) }() // not t.TempDir: a helper of the browser may outlive it and hold files

	cmd := exec.CommandContext(t.Context(), browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir="+profile,
		"--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND", "--allow-file-access-from-files",
		"--enable-logging=stderr", "--dump-dom", url)
	cmd.WaitDelay = 10 * time.Second
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	return string(stdout), stderr.String(), err
}

// TestThePageSaysWhatMatters reads a page as somebody would who wants to choose.
func TestThePageSaysWhatMatters(t *testing.T) {
	page, err := choiceOf(twentyReport()).page()
	require.NoError(t, err)
	in := func(parts ...string) {
		t.Helper()
		at := 0
		for _, part := range parts {
			next := strings.Index(page[at:], part)
			require.GreaterOrEqual(t, next, 0, "%q after %q", part, parts[0])
			at += next
		}
	}
	in("<h1>Drift of A mixture</h1>", "<h2>The choice: Q6_K</h2>", "7.19 MiB", "0.00085 <small>hardly any drift")
	in("<th>candidate</th><th>size</th><th>KL divergence</th><th>memory</th><th class=\"verdict\">verdict</th>")
	in(">Q2_K<", ">IQ2_M<", "</table>") // from large to small
	in("<h2>Provenance</h2>", "A mixture (moe.gguf), architecture llama, 10.6 M parameters", strings.Repeat("89ab", 16), "ggufkit v1.2.3 on 28 November 2026, 15:04 UTC", "A CPU, avx2", "ggufkit drift moe.gguf -f chat.txt")
	require.Equal(t, 1, strings.Count(page, "not measured: smaller than IQ4_XS, which is further from the original than Q6_K</td>")-1, "once for Q8_0, once for all that follow each other")
	for _, never := range []string{"tokens/s", "NaN", "ZgotmplZ"} {
		require.NotContains(t, page, never)
	}
}

func TestBands(t *testing.T) {
	for kld, word := range map[float64]string{0: "hardly any", 0.0009: "hardly any", 0.001: "small", 0.05: "noticeable", 0.1: "large", 3: "large"} {
		require.Equal(t, word, bandOf(kld), kld)
	}
}
