// Package mlog is as much of monis.app/mlog as the driver calls, on top of klog.
package mlog

import (
	"context"
	"fmt"

	"k8s.io/klog/v2"
)

// Format is how log lines look; klog has one format.
type Format string

const (
	FormatText Format = "text"
	FormatJSON Format = "json"
)

// Setup returns what writes out the lines that klog still has.
func Setup() func() { return klog.Flush }

// ValidateAndSetKlogLevelAndFormatGlobally checks the format; klog's flag has already set the level.
func ValidateAndSetKlogLevelAndFormatGlobally(_ context.Context, _ klog.Level, format Format) error {
	if format != FormatText {
		return fmt.Errorf("log format %q is not built in", format)
	}
	return nil
}

func Fatal(err error) { klog.FatalDepth(1, err) }

func Error(message string, err error, pairs ...any) { klog.ErrorSDepth(1, err, message, pairs...) }

func Info(message string, pairs ...any) { klog.InfoSDepth(1, message, pairs...) }
