package main

import (
	_ "embed"
	"html/template"
	"strings"
)

// pageStyle is what pages have in common.
//
//go:embed page.css
var pageStyle string

// renderPage fills in a page, which puts the common style where it has {{style}}.
func renderPage(name, page string, functions template.FuncMap, data any) (string, error) {
	t, err := template.New(name).
		Funcs(template.FuncMap{
			"bytes": bytesText, "name": textName, "percent": percentText,
			"style": func() template.CSS { return template.CSS(pageStyle) },
		}).
		Funcs(functions).Parse(page)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, data)
	return b.String(), err
}
