// For every driver: it asks for nothing newer than the oldest of them does.
module monis.app/mlog

go 1.19

require k8s.io/klog/v2 v2.80.1
