-- The texts of policies as clients of the ECR API sent them.

ALTER TABLE policies ADD COLUMN text TEXT;
