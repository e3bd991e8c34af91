//! Calls that hand out access, take away evidence, or destroy: for them the same burst weighs more. A list, no rules.
//!
//! Source: the privilege-escalation, defence-evasion, persistence and impact techniques that MITRE ATT&CK's cloud
//! matrix names, as AWS calls.

/// `service:Name` as in IAM policies; `*` stands for every name of the service, or ends a beginning of one.
const SENSITIVE: [&str; 64] = [
    // Access handed out.
    "iam:AddUserToGroup",
    "iam:Attach*",
    "iam:CreateAccessKey",
    "iam:CreateLoginProfile",
    "iam:CreateOpenIDConnectProvider",
    "iam:CreatePolicyVersion",
    "iam:CreateRole",
    "iam:CreateSAMLProvider",
    "iam:CreateServiceSpecificCredential",
    "iam:CreateUser",
    "iam:CreateVirtualMFADevice",
    "iam:DeactivateMFADevice",
    "iam:DeleteRolePermissionsBoundary",
    "iam:DeleteUserPermissionsBoundary",
    "iam:Put*",
    "iam:SetDefaultPolicyVersion",
    "iam:UpdateAccessKey",
    "iam:UpdateAssumeRolePolicy",
    "iam:UpdateLoginProfile",
    "iam:UpdateSAMLProvider",
    "identitystore:Create*",
    "kms:CreateGrant",
    "kms:PutKeyPolicy",
    "lambda:AddPermission*",
    "organizations:*",
    "ram:CreateResourceShare",
    "secretsmanager:GetSecretValue",
    "secretsmanager:PutResourcePolicy",
    "signin:ConsoleLogin",
    "sso:CreateAccountAssignment",
    "sts:*",
    // Data opened.
    "ec2:AuthorizeSecurityGroup*",
    "ec2:GetPasswordData",
    "ec2:ModifyImageAttribute",
    "ec2:ModifySnapshotAttribute",
    "rds:ModifyDBClusterSnapshotAttribute",
    "rds:ModifyDBSnapshotAttribute",
    "s3:DeleteBucketPolicy",
    "s3:DeletePublicAccessBlock",
    "s3:PutBucketAcl",
    "s3:PutBucketPolicy",
    "s3:PutBucketPublicAccessBlock",
    "ssm:GetParameter*",
    "ssm:SendCommand",
    "ssm:StartSession",
    // Evidence taken away.
    "cloudtrail:DeleteTrail",
    "cloudtrail:PutEventSelectors",
    "cloudtrail:StopLogging",
    "cloudtrail:UpdateTrail",
    "config:DeleteConfigurationRecorder",
    "config:StopConfigurationRecorder",
    "ec2:DeleteFlowLogs",
    "guardduty:Delete*",
    "guardduty:UpdateDetector",
    "logs:DeleteLogGroup",
    "logs:DeleteLogStream",
    "securityhub:DisableSecurityHub",
    // Things destroyed.
    "backup:DeleteRecoveryPoint",
    "dynamodb:DeleteTable",
    "ec2:DeleteSnapshot",
    "kms:DisableKey",
    "kms:ScheduleKeyDeletion",
    "rds:DeleteDB*",
    "s3:DeleteBucket",
];

/// Whether a call is on the list: `iam.amazonaws.com`, `CreateAccessKey`.
pub fn is_sensitive(event_source: &str, event_name: &str) -> bool {
    let service = event_source.split('.').next().unwrap_or_default();
    SENSITIVE.iter().filter_map(|line| line.split_once(':')).any(|(of, name)| {
        of == service
            && match name.strip_suffix('*') {
                Some(beginning) => event_name.starts_with(beginning),
                None => event_name == name,
            }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_beginnings_of_names() {
        assert!(is_sensitive("iam.amazonaws.com", "CreateAccessKey"));
        assert!(is_sensitive("iam.amazonaws.com", "AttachRolePolicy"));
        assert!(is_sensitive("sts.amazonaws.com", "AssumeRole"));
        assert!(!is_sensitive("iam.amazonaws.com", "ListUsers"));
        assert!(!is_sensitive("s3.amazonaws.com", "DeleteBucketTagging"), "not a beginning");
        assert!(!is_sensitive("ec2.amazonaws.com", "RunInstances"));
        assert!(!is_sensitive("", ""));
    }
}
